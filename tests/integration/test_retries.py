"""What fails for a while, on real brokers: it waits in a delay topic, and what is behind it goes on."""

from contextlib import AbstractAsyncContextManager
from typing import Any

import msgspec
import pytest
from structlog.testing import capture_logs

from contracts.envelope import Event
from handlers.errors import Transient
from handlers.outcome import Outcome
from handlers.redelivery import Retry
from handlers.table import Stage
from tests import kafka_servers
from tests.integration.conftest import World
from tests.running import running_worker
from tests.wait import wait_until
from worker.delivery.dead_letters import reason_of


class Upstream:
    """A handler that always finds the task ``busy`` busy, until it is told otherwise."""

    def __init__(self) -> None:
        self.busy = True
        self.done: list[str] = []

    async def handle(self, event: Event[Any]) -> Outcome:
        if self.busy and event.key == "busy":
            raise Transient("busy")
        self.done.append(event.key)
        return Outcome(name="done", events=())


def stage_of(upstream: Upstream, *later: float) -> Stage:
    retry = Retry(transient_tries=2, first_delay=0.01, later=later)
    return Stage("tested", ("task.command",), upstream.handle, (), retry=retry)


async def command(world: World, task_id: str) -> None:
    body = {"command_id": f"c-{task_id}", "task_id": task_id, "command": "stop"}
    await world.platform.publish("task.command", task_id, body)


def running(world: World, stage: Stage, **settings: Any) -> AbstractAsyncContextManager[object]:
    """Return a worker over one stage, from ``async with`` to its drained end."""
    return running_worker(msgspec.structs.replace(world.settings, **settings), [stage], ports={})


async def test_it_is_done_after_a_delay_and_nothing_waits_for_it(world: World) -> None:
    upstream = Upstream()
    async with running(world, stage_of(upstream, 0.3)):
        await command(world, "busy")
        await command(world, "other")
        await wait_until(lambda: upstream.done == ["other"], 60, "the one behind it")
        upstream.busy = False
        await wait_until(lambda: upstream.done == ["other", "busy"], 60, "the one that waited")
    assert world.platform.letters == []


async def test_it_survives_a_restart_and_ends_as_one_letter_about_its_first_place(world: World) -> None:
    upstream = Upstream()
    stage = stage_of(upstream, 1.0)
    with capture_logs() as logs:
        async with running(world, stage):
            await command(world, "busy")
            await wait_until(lambda: any(line["event"] == "event.postponed" for line in logs), 60, "the delay topic")
    assert world.platform.letters == []
    async with running(world, stage):
        await wait_until(lambda: len(world.platform.letters) == 1, 60, "the letter")
    said = reason_of(world.platform.letters[0].headers)
    assert (said["reason"], said["topic"], said["stage"]) == ("transient-fault", "task.command", "tested")
    assert int(said["attempts"]) >= 4


@pytest.mark.parametrize("servers", ["apache-kafka"], indirect=True)
@pytest.mark.skipif(
    kafka_servers.rung() is None, reason="needs Apache Kafka: the embedded broker has no static members"
)
async def test_a_named_worker_that_restarts_moves_no_partition_of_the_others(world: World) -> None:
    upstream = Upstream()
    stage = stage_of(upstream)

    def assignments(logs: list[Any]) -> int:
        return sum(line["event"] == "partitions.assigned" for line in logs)

    async with running(world, stage, instance_id="a", session_timeout_seconds=20.0):
        with capture_logs() as logs:
            async with running(world, stage, instance_id="b", session_timeout_seconds=20.0):
                await wait_until(lambda: assignments(logs) >= 2, 90, "both to have their part")
            before = assignments(logs)
            async with running(world, stage, instance_id="b", session_timeout_seconds=20.0):
                for n in range(20):
                    await command(world, f"t{n}")
                await wait_until(lambda: len(upstream.done) == 20, 90, "all to be done")
        # The one that came back, and nobody else.
        assert assignments(logs) == before + 1
