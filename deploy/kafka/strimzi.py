"""Topics and users as Strimzi's resources: ``python -m deploy.kafka.strimzi`` writes them.

For a cluster whose brokers Strimzi runs. Others: ``worker topics create`` and ``worker topics acls``.
"""

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from contracts.topics import TOPICS
from handlers.table import STAGES
from worker.delivery import later
from worker.kafka.topic_rights import Right, rights
from worker.kafka.topics import REPLICAS, new_delay_topic, new_topics
from worker.settings import Settings

_FOLDER = Path(__file__).parent
_API = "kafka.strimzi.io/v1"
#: Which of Strimzi's clusters they are of. An overlay may name another one.
_CLUSTER = {"strimzi.io/cluster": "kafka"}
_NOTE = "# Derived by `make manifests` from contracts/topics.py and handlers/table.py: change those.\n"

Resource = dict[str, Any]


def topics() -> Iterator[Resource]:
    """Yield every topic as ``worker topics create`` makes it on three brokers."""
    wanted = [new for topic in TOPICS.values() for new in new_topics(topic, REPLICAS)]
    wanted += [new_delay_topic(name, REPLICAS) for name in later.names(STAGES)]
    for new in wanted:
        spec = {"partitions": new.num_partitions, "replicas": new.replication_factor, "config": dict(new.topic_configs)}
        yield _resource("KafkaTopic", new.name, spec)


def users() -> Iterator[Resource]:
    """Yield a user a role, with the rights of it. How they show who they are is theirs: passwords, by SCRAM."""
    for role, granted in rights(Settings().group_of).items():
        authorization = {"type": "simple", "acls": [_acl(right) for right in granted]}
        spec = {"authentication": {"type": "scram-sha-512"}, "authorization": authorization}
        yield _resource("KafkaUser", f"finetune-{role}", spec)


def derived() -> dict[Path, str]:
    """Return what each file must hold."""
    return {_FOLDER / "topics.yaml": _text(topics()), _FOLDER / "users.yaml": _text(users())}


def _acl(right: Right) -> Resource:
    named = {"name": right.name, "patternType": "prefix" if right.prefix else "literal"}
    resource = {"type": right.resource} | ({} if right.resource == "cluster" else named)
    return {"resource": resource, "operations": list(right.operations)}


def _resource(kind: str, name: str, spec: Resource) -> Resource:
    return {"apiVersion": _API, "kind": kind, "metadata": {"name": name, "labels": dict(_CLUSTER)}, "spec": spec}


def _text(resources: Iterator[Resource]) -> str:
    yaml = YAML()
    yaml.default_flow_style = False
    yaml.indent(mapping=2, sequence=4, offset=2)
    text = io.StringIO()
    yaml.dump_all(list(resources), text)
    return _NOTE + text.getvalue()


def write() -> None:
    """Write the files. Idempotent."""
    for path, text in derived().items():
        path.write_text(text)


if __name__ == "__main__":
    write()
