"""Whether this worker is well, in words that tell a stuck stage from an idle one; looked at every few seconds."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping

import structlog
from aiokafka.errors import KafkaError
from msgspec import Struct

from handlers.ports.clock import Clock
from worker.delivery.standing import Look, Standing, standing

log = structlog.get_logger()

_LOOK_EVERY_SECONDS = 5.0
_LOOK_SECONDS = 10.0

_FINE = ("idle", "working", "waiting")
#: Every state of a stage.
STATES = (*_FINE, "stopped", "stuck", "unreachable")


class StageHealth(Struct, frozen=True, kw_only=True):
    """A stage as it was seen last. ``behind``, ``unfinished``: records not taken in, and taken in but not finished.

    ``paused``: partitions that have not been read for a while, though others of the stage may be, each with the reason.
    """

    state: str
    behind: int = 0
    unfinished: int = 0
    seconds_without_progress: float = 0.0
    trouble: str | None = None
    paused: tuple[str, ...] = ()


class Report(Struct, frozen=True, kw_only=True):
    """What is answered to who asks. ``live``: a restart would not help. ``ready``: it does its work."""

    phase: str
    live: bool
    ready: bool
    stages: dict[str, StageHealth]


class Health:
    """Looks at the stages, and remembers. ``phase`` is set by the worker: starting, running, draining."""

    def __init__(self, clock: Clock, stuck_seconds: float) -> None:
        self.phase = "starting"
        self._clock = clock
        self._stuck_seconds = stuck_seconds
        self._stages: dict[str, StageHealth] = {}
        self._moved: dict[str, tuple[Look, float]] = {}
        self._restart_helps: set[str] = set()

    def report(self) -> Report:
        """Return what was seen last. A worker is not ready before it has joined, and while it drains."""
        fine = all(each.state in _FINE for each in self._stages.values())
        return Report(
            phase=self.phase,
            live=not self._restart_helps,
            ready=self.phase == "running" and fine,
            stages=dict(self._stages),
        )

    async def watch(self, looks: Mapping[str, Callable[[], Awaitable[Look]]]) -> None:
        """Look at every stage, again and again, until cancelled. ``looks``: for each stage what looks at it."""
        while True:
            await asyncio.gather(*(self.look_at(stage, look) for stage, look in looks.items()))
            await asyncio.sleep(_LOOK_EVERY_SECONDS)

    async def look_at(self, stage: str, look: Callable[[], Awaitable[Look]]) -> None:
        """Look at one stage. One that cannot be looked at, because the broker does not answer, is ``unreachable``."""
        before = self._stages.get(stage)
        try:
            async with asyncio.timeout(_LOOK_SECONDS):
                seen = await look()
        except (TimeoutError, KafkaError, OSError) as error:
            found = StageHealth(state="unreachable", trouble=f"Kafka does not answer: {type(error).__name__}")
            self._restart_helps.discard(stage)
        else:
            found = self._judged(stage, seen)
        self._stages[stage] = found
        if found.trouble and (before is None or before.state != found.state):
            log.error("stage.unwell", stage=stage, state=found.state, trouble=found.trouble)

    def _judged(self, stage: str, seen: Look) -> StageHealth:
        now = self._clock.monotonic()
        last, since = self._moved.get(stage, (seen, now))
        nothing_to_do = not seen.untaken and not seen.in_lanes
        if nothing_to_do or seen.moved_since(last) or stage not in self._moved:
            self._moved[stage] = (seen, now)
            since = now
        judged: Standing = standing(seen, now - since, self._stuck_seconds)
        (self._restart_helps.add if judged.helped_by_restart else self._restart_helps.discard)(stage)
        return StageHealth(
            state=judged.state,
            behind=seen.untaken + seen.held_back,
            unfinished=seen.unfinished,
            seconds_without_progress=round(now - since, 1),
            trouble=judged.trouble,
            paused=seen.paused,
        )
