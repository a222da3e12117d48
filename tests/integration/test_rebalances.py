"""What a rebalance waits for: a worker that finishes what it has begun is still in its group afterwards."""

import asyncio
import time
from collections import Counter
from typing import Any

import pytest

from contracts.envelope import Event
from handlers.outcome import Outcome
from handlers.table import Stage
from tests import kafka_servers
from tests.integration.conftest import World
from tests.integration.test_retries import command, running
from tests.wait import wait_until

pytestmark = [
    pytest.mark.parametrize("servers", ["apache-kafka"], indirect=True),
    pytest.mark.skipif(kafka_servers.rung() is None, reason="needs Apache Kafka: another broker has other patience"),
]

SESSION_SECONDS = 1.5


class Slow:
    """A handler that takes until it is let go."""

    def __init__(self) -> None:
        self.begun: Counter[str] = Counter()
        self.go = asyncio.Event()

    async def handle(self, event: Event[Any]) -> Outcome:
        self.begun[event.key] += 1
        await self.go.wait()
        return Outcome(name="done")


async def test_work_that_outlasts_a_session_but_not_the_grace_is_finished_where_it_was_begun(world: World) -> None:
    slow = Slow()
    stage = Stage("tested", ("task.command",), slow.handle, ())
    names = {f"t{n}" for n in range(12)}

    changes = {"session_timeout_seconds": SESSION_SECONDS, "revoke_grace_seconds": 20.0}
    async with running(world, stage, **changes):
        for name in names:
            await command(world, name)
        await wait_until(lambda: slow.begun.keys() == names, 60, "all to be begun")
        began = time.monotonic()

        def let_go() -> bool:
            # Whoever is taken for dead has lost its partitions by now, and the other one begins everything again.
            if time.monotonic() - began > 4 * SESSION_SECONDS:
                slow.go.set()
            return slow.go.is_set()

        letting_go = asyncio.create_task(wait_until(let_go, 60, "the end of several sessions"))
        async with running(world, stage, **changes):
            assert letting_go.done(), "the group waited for what had been begun"
    assert slow.begun == Counter(names)
