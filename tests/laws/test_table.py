"""The one table: it says everything the service does, and nothing else."""

import ast
import inspect
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from faststream import AckPolicy
from faststream.kafka import KafkaBroker
from faststream.kafka.subscriber.usecase import LogicSubscriber
from msgspec.structs import replace

from contracts.topics import TOPICS
from handlers import table
from handlers.table import SAID_BY_SWEEPS, STAGES, Stage
from tests.fakes.clock import ManualClock
from tests.fakes.delivery import FakePublisher
from tests.fakes.world import World
from worker.app import bind, default_ports
from worker.delivery.intake import Intake
from worker.delivery.later import delay_topics
from worker.delivery.processing import Processor
from worker.settings import Settings

ROOT = Path(table.__file__).parent.parent
every_stage = pytest.mark.parametrize("stage", STAGES, ids=[stage.name for stage in STAGES])


def test_every_inbound_contract_is_read() -> None:
    inbound = {name for name, topic in TOPICS.items() if topic.publisher != "worker"}
    assert inbound <= {topic for stage in STAGES for topic in stage.topics}


def test_everything_we_publish_is_said_by_a_stage_or_by_a_sweep() -> None:
    ours = {name for name, topic in TOPICS.items() if topic.publisher == "worker"}
    stages = {topic for stage in STAGES for topic in stage.says}
    assert stages.isdisjoint(SAID_BY_SWEEPS)
    assert stages | set(SAID_BY_SWEEPS) == ours


@every_stage
def test_a_stage_reads_topics_there_are_and_says_only_ours(stage: Stage) -> None:
    assert stage.topics
    assert set(stage.topics) <= set(TOPICS)
    assert {TOPICS[topic].publisher for topic in stage.says} == {"worker"}


def test_names_are_unique_and_are_those_the_handlers_record_under() -> None:
    assert len({stage.name for stage in STAGES}) == len(STAGES)
    for stage in STAGES:
        module = inspect.getmodule(stage.handler)
        assert getattr(module, "STAGE", None) == stage.name


def test_only_what_computes_has_a_version() -> None:
    versions = {stage.name: stage.version for stage in STAGES}
    pure = {"dataset-validation", "cost-estimation"}
    assert {name for name, version in versions.items() if version} == pure


def test_only_what_is_folded_may_wait_to_be() -> None:
    assert [stage.name for stage in STAGES if stage.unhurried] == [stage.name for stage in STAGES if stage.folds]


def test_the_table_is_short_enough_to_be_read_first() -> None:
    assert len(Path(table.__file__).read_text(encoding="utf-8").splitlines()) < 60


@every_stage
def test_a_handler_takes_an_event_first_and_ports_by_name_after(stage: Stage) -> None:
    assert inspect.iscoroutinefunction(stage.handler)
    first, *ports = inspect.signature(stage.handler).parameters.values()
    assert first.name == ("events" if stage.folds else "event")
    assert {port.kind for port in ports} <= {inspect.Parameter.KEYWORD_ONLY}
    assert {port.default for port in ports} <= {inspect.Parameter.empty}


async def test_every_port_a_handler_names_is_there_and_the_fakes_are_the_same_ports(tmp_path: Path) -> None:
    settings = replace(Settings(), storage_url=f"file://{tmp_path}/bucket", work_dir=tmp_path / "work", cpu_workers=1)
    async with default_ports(settings) as ports:
        for stage in STAGES:
            bind(stage, ports)
        assert set(ports) == set(World().ports)


# --- subscribers ---------------------------------------------------------------------------------------------


async def test_every_subscriber_states_its_group_its_acks_and_where_it_begins() -> None:
    groups = []
    for stage in STAGES:
        broker = KafkaBroker("nowhere:0")
        processor = Processor(stage, stage.handler, FakePublisher(), ManualClock())
        Intake(stage, broker, processor, ManualClock(), Settings())
        (subscriber,) = broker.subscribers
        assert isinstance(subscriber, LogicSubscriber)
        assert subscriber.topic_names_for_subscribe == [*stage.topics, *delay_topics(stage)]
        assert subscriber.ack_policy is AckPolicy.MANUAL
        assert subscriber._connection_args["auto_offset_reset"] == "earliest"
        assert subscriber._connection_args["enable_auto_commit"] is False
        groups.append(subscriber.group_id)
    assert groups == [f"finetune-worker.{stage.name}" for stage in STAGES]


# --- imports -------------------------------------------------------------------------------------------------

FORBIDDEN = {
    "contracts": {"handlers", "worker", "tests"},
    "handlers": {"worker", "tests"},
}


def _outside() -> set[str]:
    """Return what lint-imports keeps out of both rooms, whichever of it is installed."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["importlinter"]["contracts"]
    (rule,) = (each for each in contracts if each["name"].startswith("What is decided knows no broker"))
    assert set(rule["source_modules"]) == set(FORBIDDEN)
    return set(rule["forbidden_modules"])


OUTSIDE = _outside()


def _imported(source: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module.partition(".")[0]


def _wrong(room: str, source: str) -> set[str]:
    return set(_imported(source)) & (FORBIDDEN[room] | OUTSIDE)


@pytest.mark.parametrize("room", FORBIDDEN)
def test_what_is_said_and_what_is_decided_know_nothing_of_how_it_runs(room: str) -> None:
    files = sorted((ROOT / room).rglob("*.py"))
    assert len(files) > 5
    assert {str(path): wrong for path in files if (wrong := _wrong(room, path.read_text(encoding="utf-8")))} == {}


@pytest.mark.parametrize(
    ("room", "planted"),
    [
        ("handlers", "from worker.clock import SystemClock"),
        ("handlers", "def late():\n    import aiokafka.errors"),
        ("handlers", "from smtplib import SMTP"),
        ("handlers", "import httpx2"),
        ("contracts", "import handlers.table"),
        ("contracts", "if True:\n    from faststream.kafka import KafkaBroker"),
    ],
)
def test_a_planted_import_is_caught(room: str, planted: str) -> None:
    assert _wrong(room, planted)
