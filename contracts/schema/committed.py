"""The committed documents against the derived ones. Pure: documents are given as texts by file name."""

import json
import re
from collections.abc import Iterable, Mapping

from contracts.schema.compatibility import Direction, breaking_changes
from contracts.schema.derive import ASYNCAPI_FILE, as_text, documents, schema_file
from contracts.topics import Topic


def breaking(committed: Mapping[str, str], topics: Iterable[Topic]) -> list[str]:
    """Return each breaking change of a committed schema whose topic has no new version, in words."""
    topics = tuple(topics)
    derived = documents(topics)
    faults = []
    for topic in topics:
        name = schema_file(topic)
        if name not in committed:
            continue
        direction: Direction = "outbound" if topic.publisher == "worker" else "inbound"
        try:
            changes = breaking_changes(json.loads(committed[name]), derived[name], direction)
        except (ValueError, LookupError, TypeError, AttributeError):
            faults.append(f"{name} is not a schema that was derived here: restore it")
            continue
        faults += [
            f"{name}: BREAKING: {change}; raise the version of {topic.name} in contracts/topics.py, "
            f"which keeps {name} and adds {schema_file(topic, topic.version + 1)}"
            for change in changes
        ]
    return faults


def stale(committed: Mapping[str, str], topics: Iterable[Topic]) -> list[str]:
    """Return what differs, is missing or belongs to no topic, each with its remedy; empty where all is as derived."""
    topics = tuple(topics)
    derived = {name: as_text(document) for name, document in documents(topics).items()}
    faults = [
        f"{name} {'differs from' if name in committed else 'is missing for'} the contracts: run `make contracts`"
        for name, text in derived.items()
        if committed.get(name) != text
    ]
    earlier = {schema_file(topic, version) for topic in topics for version in range(1, topic.version)}
    faults += [f"{name} is missing: an earlier version stays" for name in sorted(earlier - committed.keys())]
    orphans = sorted(committed.keys() - derived.keys() - earlier)
    return faults + [f"{name}: {_orphan(name, topics)}" for name in orphans]


def _orphan(name: str, topics: tuple[Topic, ...]) -> str:
    match = re.fullmatch(r"(.+)\.v(\d+)\.json", name)
    if match and any(topic.name == match[1] for topic in topics):
        return "no such version in contracts/topics.py; raise it there, or delete the file"
    return f"belongs to no topic; delete it (known are <topic>.v<version>.json and {ASYNCAPI_FILE})"
