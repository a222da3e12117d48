"""Why a partition is paused: in a metric at once, in the log where it lasts, and at the command line."""

import asyncio
from datetime import UTC, datetime
from pathlib import Path

import msgspec
from aiokafka import TopicPartition
from structlog.testing import capture_logs
from typer.testing import CliRunner

from handlers import layout
from tests.fakes.clock import ManualClock
from worker.cli import app
from worker.delivery.bug_limit import BugsOfPartition
from worker.delivery.offsets import PartitionProgress
from worker.delivery.pausing import Pauses
from worker.storage.directory import DirectoryStore

P0 = TopicPartition("task.command", 0)


class Consumer:
    def __init__(self) -> None:
        self.calls: list[str] = []

    def pause(self, partition: TopicPartition) -> None:
        self.calls.append("pause")

    def resume(self, partition: TopicPartition) -> None:
        self.calls.append("resume")


def _taken_in(count: int, *, done: range = range(0)) -> PartitionProgress:
    progress = PartitionProgress()
    for offset in range(count):
        progress.begin(offset)
    for offset in done:
        progress.finish(offset)
    return progress


def test_the_reason_is_what_is_nearest_to_its_limit() -> None:
    pauses = Pauses("tested", ManualClock(), spread_limit=5000)
    pauses.steer(Consumer(), P0, _taken_in(2000), waits=False)
    assert pauses.reasons == {"unfinished": 1}
    pauses.steer(Consumer(), P0, _taken_in(5000, done=range(1, 4500)), waits=False)
    assert pauses.reasons == {"spread": 1}
    pauses.stop(Consumer(), P0)
    assert pauses.reasons == {"bugs": 1}


def test_what_waits_for_due_times_is_not_too_much_work() -> None:
    pauses = Pauses("tested", ManualClock(), spread_limit=10_000)
    pauses.steer(Consumer(), P0, _taken_in(4000), waits=True)
    assert P0 not in pauses


def test_it_goes_on_at_half_of_the_limit_and_not_before() -> None:
    pauses, consumer = Pauses("tested", ManualClock(), spread_limit=10_000), Consumer()
    for done in (0, 999, 1000):
        pauses.steer(consumer, P0, _taken_in(2000, done=range(done)), waits=False)
    assert consumer.calls == ["pause", "resume"]


async def test_only_a_pause_that_lasts_is_told_and_logged_once() -> None:
    clock = ManualClock()
    pauses = Pauses("tested", clock, spread_limit=10_000)
    progress = _taken_in(2000, done=range(7))
    with capture_logs() as logged:
        pauses.steer(Consumer(), P0, _taken_in(2000), waits=False)
        pauses.say({P0: progress})
        assert list(pauses.lasting({P0: progress})) == []
        await clock.advance(30)
        assert list(pauses.lasting({P0: progress})) == ["task.command[0] for 30 s: unfinished, offset 7 is unfinished"]
        pauses.say({P0: progress})
        pauses.say({P0: progress})
        pauses.steer(Consumer(), P0, _taken_in(2000, done=range(1500)), waits=False)
    assert [line["event"] for line in logged] == ["partition.paused", "partition.resumed"]
    assert (logged[0]["reason"], logged[0]["oldest_unfinished"]) == ("unfinished", 7)


def test_stopped_partitions_can_be_looked_at_without_letting_them_go(tmp_path: Path) -> None:
    store = DirectoryStore(tmp_path)
    environment = {"WORKER_STORAGE_URL": tmp_path.as_uri()}
    assert CliRunner().invoke(app, ["dead-letters", "stopped"], env=environment).exit_code == 0
    at = datetime(2026, 1, 2, tzinfo=UTC)
    for partition, stopped_at in ((0, None), (1, at)):
        found = BugsOfPartition(
            topic="task.command", partition=partition, bugs={"9": at, "10": at}, stopped_at=stopped_at
        )
        key = layout.bug_limit("task-command", "task.command", partition)
        asyncio.run(store.put(key, msgspec.json.encode(found)))
    for _ in range(2):  # looking changes nothing
        told = CliRunner().invoke(app, ["dead-letters", "stopped"], env=environment)
        assert told.exit_code == 1
        assert told.stdout == "task-command  task.command[1]  since 2026-01-02 00:00:00  gave up on 9, 10\n"
    as_json = CliRunner().invoke(app, ["dead-letters", "stopped", "--json"], env=environment)
    assert [each["partition"] for each in msgspec.json.decode(as_json.stdout)["stopped"]] == [1]
