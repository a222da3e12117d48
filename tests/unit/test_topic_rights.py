"""Who may do what with the topics: enough for each role's work, and no more; and Strimzi's files say the same."""

import re
from collections.abc import Iterable

import msgspec
import pytest
from typer.testing import CliRunner

from contracts.topics import TOPICS
from deploy.kafka import strimzi
from handlers.table import SAID_BY_SWEEPS, STAGES, Stage
from worker.cli import app
from worker.console.view import FOLLOWED
from worker.delivery import later
from worker.kafka.topic_rights import Right, rights
from worker.kafka.topics import new_topics
from worker.settings import Settings

ROLES = rights(Settings(group_prefix="mine").group_of)
DEAD = {topic.dead_letter for topic in TOPICS.values()}
DELAYS = set(later.names(STAGES))


def may(role: str, operation: str, resource: str = "topic") -> set[str]:
    return {right.name for right in ROLES[role] if right.resource == resource and operation in right.operations}


def of_publisher(*publishers: str) -> set[str]:
    return {topic.name for topic in TOPICS.values() if topic.publisher in publishers}


@pytest.mark.parametrize("stage", STAGES, ids=lambda stage: stage.name)
def test_a_worker_may_do_what_a_stage_does(stage: Stage) -> None:
    assert {*stage.topics, *later.delay_topics(stage)} <= may("worker", "Read")
    gives_up = {TOPICS[name].dead_letter for name in stage.topics}
    assert {*stage.says, *later.delay_topics(stage), *gives_up} <= may("worker", "Write")
    assert f"mine.{stage.name}" in may("worker", "Read", "group")


def test_a_worker_publishes_what_trainers_left_in_the_bucket() -> None:
    assert of_publisher("executors") == {"training.progress"} <= may("worker", "Write")


def test_a_worker_says_what_only_time_leads_to() -> None:
    assert set(SAID_BY_SWEEPS) <= may("worker", "Write")


def test_a_worker_may_not_say_what_the_platform_says_nor_read_what_it_gave_up_on() -> None:
    assert not may("worker", "Write") & of_publisher("platform")
    assert not may("worker", "Read") & DEAD
    assert not may("worker", "Create")


@pytest.mark.parametrize("role", ["worker", "console", "operator"])
def test_who_makes_missing_topics_sees_those_that_are_there(role: str) -> None:
    # Reading and writing imply it; what somebody does not see it takes for missing, and is then refused to make it.
    seen = may(role, "Read") | may(role, "Write") | may(role, "Describe") | may(role, "Create")
    wanted = {new.name for topic in TOPICS.values() for new in new_topics(topic, 3)}
    assert wanted | (set() if role == "console" else DELAYS) <= seen


def test_a_trainer_may_say_its_progress_and_nothing_else() -> None:
    assert ROLES["trainer"] == [Right("topic", "training.progress", ("Write",))]


def test_a_platform_says_its_own_events_and_hears_the_worker_s() -> None:
    assert may("platform", "Write") == of_publisher("platform")
    assert may("platform", "Read") == of_publisher("worker")


def test_the_console_may_read_what_it_shows_and_put_back_what_a_stage_reads() -> None:
    assert set(FOLLOWED) | DEAD <= may("console", "Read")
    assert {name for stage in STAGES for name in (*stage.topics, *stage.says)} <= may("console", "Write")
    assert not may("console", "Write") & (DEAD | DELAYS)
    assert not [right for right in ROLES["console"] if right.resource != "topic"]


def test_only_operators_make_topics_and_all_of_them() -> None:
    assert may("operator", "Create") == {*TOPICS, *DEAD, *DELAYS}
    assert [role for role in ROLES if may(role, "Create")] == ["operator"]
    assert [role for role in ROLES if may(role, "Describe", "cluster")] == ["operator"]


def test_nobody_may_lose_events() -> None:
    operations = {operation for granted in ROLES.values() for right in granted for operation in right.operations}
    assert operations == {"Read", "Write", "Create", "Describe", "DescribeConfigs"}


@pytest.mark.parametrize("role", ROLES)
def test_each_right_is_said_once(role: str) -> None:
    named = [right[:2] for right in ROLES[role]]
    assert len(named) == len(set(named))
    assert all(right.operations for right in ROLES[role])


def test_strimzi_s_files_are_the_derived_ones() -> None:
    for path, text in strimzi.derived().items():
        assert path.read_text() == text, "make manifests"


def test_strimzi_s_topics_are_those_that_the_worker_makes() -> None:
    made = {resource["metadata"]["name"]: resource["spec"] for resource in strimzi.topics()}
    assert set(made) == {*TOPICS, *DEAD, *DELAYS}
    assert made["task.status"]["config"]["cleanup.policy"] == "compact"
    assert all(_is_a_name(name) for name in made)


def _is_a_name(name: str) -> bool:
    return re.fullmatch(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*", name) is not None


def test_strimzi_s_users_have_the_rights_of_their_roles() -> None:
    def told(rights_: Iterable[Right]) -> set[tuple[str, str | None, tuple[str, ...]]]:
        return {(each.resource, None if each.resource == "cluster" else each.name, each.operations) for each in rights_}

    made = {resource["metadata"]["name"]: resource["spec"]["authorization"]["acls"] for resource in strimzi.users()}
    for role, granted in rights(Settings().group_of).items():
        acls = made[f"finetune-{role}"]
        found = {(acl["resource"]["type"], acl["resource"].get("name"), tuple(acl["operations"])) for acl in acls}
        assert found == told(granted)


def test_the_command_says_them_for_kafka_s_own_tool_and_for_programs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORKER_GROUP_PREFIX", "mine")
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", "kafka:9092")
    said = CliRunner().invoke(app, ["topics", "acls"]).stdout.splitlines()
    assert (
        "kafka-acls.sh --bootstrap-server kafka:9092 --add --allow-principal User:finetune-trainer --operation Write "
        "--topic training.progress --resource-pattern-type literal"
    ) in said
    assert next(line for line in said if "--group platform " in line).endswith("--resource-pattern-type prefixed")
    assert len(said) == sum(map(len, ROLES.values()))
    told = msgspec.json.decode(CliRunner().invoke(app, ["topics", "acls", "--json"]).stdout)["roles"]
    assert list(told) == list(ROLES)
    assert told["trainer"] == [
        {"resource": "topic", "name": "training.progress", "operations": ["Write"], "prefix": False}
    ]
