"""Health: stuck and idle told apart, and what a restart would help."""

from collections.abc import Awaitable, Callable

import pytest
from aiokafka.errors import KafkaConnectionError

from tests.fakes.clock import ManualClock
from worker.delivery.standing import TAKING_SECONDS, Look, standing
from worker.health import Health, StageHealth

IDLE = Look(untaken=0, taken=5, unfinished=0, in_lanes=0)
BEHIND = Look(untaken=9, taken=5, unfinished=0, in_lanes=0)
IN_WORK = Look(untaken=0, taken=5, unfinished=2, in_lanes=2)
NOT_DUE = Look(untaken=0, taken=5, unfinished=2, in_lanes=0)
STOPPED = Look(untaken=9, taken=5, unfinished=1, in_lanes=1, stopped=("task.created[3]",))
STUCK_SECONDS = 600.0


@pytest.mark.parametrize(
    ("look", "still", "state"),
    [
        (IDLE, 1e6, "idle"),
        (NOT_DUE, 1e6, "waiting"),
        (BEHIND, TAKING_SECONDS - 1, "working"),
        (BEHIND, TAKING_SECONDS, "stuck"),
        (IN_WORK, STUCK_SECONDS - 1, "working"),
        (IN_WORK, STUCK_SECONDS, "stuck"),
        (STOPPED, 0, "stopped"),
    ],
)
def test_a_state_follows_from_what_waits_and_how_long_nothing_has_moved(look: Look, still: float, state: str) -> None:
    assert standing(look, still, STUCK_SECONDS).state == state


def test_a_restart_helps_a_consumer_that_takes_nothing_in_and_nothing_else() -> None:
    assert standing(BEHIND, 1e6, STUCK_SECONDS).helped_by_restart
    assert not standing(IN_WORK, 1e6, STUCK_SECONDS).helped_by_restart
    assert not standing(STOPPED, 1e6, STUCK_SECONDS).helped_by_restart


def _seen(*looks: Look | Exception) -> Callable[[], Awaitable[Look]]:
    left = list(looks)

    async def look() -> Look:
        found = left.pop(0) if len(left) > 1 else left[0]
        if isinstance(found, Exception):
            raise found
        return found

    return look


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def health(clock: ManualClock) -> Health:
    made = Health(clock, STUCK_SECONDS)
    made.phase = "running"
    return made


async def _watch(health: Health, clock: ManualClock, look: Callable[[], Awaitable[Look]], seconds: float) -> str:
    """Look every ten seconds for so long; return the last state."""
    await health.look_at("s", look)
    for _ in range(int(seconds / 10)):
        await clock.advance(10)
        await health.look_at("s", look)
    return health.report().stages["s"].state


async def test_a_partition_that_is_paused_is_seen_though_the_stage_works(health: Health) -> None:
    paused = ("task.created[3] for 40 s: spread, offset 7 is unfinished",)
    await health.look_at("s", _seen(IN_WORK._replace(paused=paused)))
    assert health.report().stages["s"] == StageHealth(state="working", unfinished=2, paused=paused)


async def test_an_idle_stage_stays_well_for_ever(health: Health, clock: ManualClock) -> None:
    assert await _watch(health, clock, _seen(IDLE), 10_000) == "idle"
    assert health.report().ready
    assert health.report().live


async def test_a_stage_that_takes_nothing_in_is_stuck_and_wants_a_restart(health: Health, clock: ManualClock) -> None:
    assert await _watch(health, clock, _seen(BEHIND), TAKING_SECONDS) == "stuck"
    assert not health.report().ready
    assert not health.report().live
    assert "9 records wait" in str(health.report().stages["s"].trouble)

    assert await _watch(health, clock, _seen(BEHIND._replace(taken=6)), 0) == "working"
    assert health.report().live


async def test_a_stage_that_was_idle_has_its_time_once_records_come(health: Health, clock: ManualClock) -> None:
    await _watch(health, clock, _seen(IDLE), 10_000)

    assert await _watch(health, clock, _seen(BEHIND), TAKING_SECONDS - 10) == "working"


async def test_a_stage_far_behind_that_moves_is_not_stuck(health: Health, clock: ManualClock) -> None:
    moving = [BEHIND._replace(taken=taken) for taken in range(100)]

    assert await _watch(health, clock, _seen(*moving), 900) == "working"


async def test_a_broker_that_does_not_answer_is_not_ready_and_no_reason_to_restart(
    health: Health, clock: ManualClock
) -> None:
    assert await _watch(health, clock, _seen(KafkaConnectionError()), 10_000) == "unreachable"
    assert not health.report().ready
    assert health.report().live


async def test_it_is_not_ready_before_it_runs_and_while_it_drains(clock: ManualClock) -> None:
    health = Health(clock, STUCK_SECONDS)
    assert not health.report().ready
    health.phase = "running"
    assert health.report().ready
    health.phase = "draining"
    assert not health.report().ready
    assert health.report().live
