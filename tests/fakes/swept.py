"""A world with a reconciler."""

from typing import Any

from msgspec.structs import replace

from contracts.task import Phase
from contracts.training import TrainingDispatched
from handlers.task_state import TaskState
from tests.fakes.delivery import FakePublisher
from tests.fakes.world import World, received
from worker.settings import Settings
from worker.sweeps.reconciler import Reconciler

PATIENCE = 10.0
SETTINGS = Settings(
    reconcile_seconds=0.01, lost_job_seconds=PATIENCE, lease_seconds=1.0, cancel_grace_seconds=30.0,
    # Tests let a job be silent for long, unless silence is what they are about.
    stalled_seconds=80_000.0,
)  # fmt: skip


def task_in(phase: Phase, **fields: Any) -> TaskState:
    return replace(TaskState(task_id="t-1", phase=phase, attempt=1, seq=3), **fields)


class Swept:
    """A world with a reconciler, and what it publishes."""

    def __init__(self, world: World | None = None, **settings: Any) -> None:
        self.world = world or World()
        self.settings = replace(SETTINGS, **settings)
        self.publisher = FakePublisher()
        self.reconciler = self.another()

    def another(self) -> Reconciler:
        world = self.world
        return Reconciler(
            world.store, world.ports["executors"], world.ports["projects"], self.publisher, world.clock, self.settings
        )

    async def sweep(self, *, after: float = 0) -> list[Any]:
        """Sweep once after this long, and return what was said."""
        await self.world.clock.advance(after)
        before = len(self.publisher.events)
        await self.reconciler.sweep()
        return self.publisher.events[before:]

    async def state(self) -> TaskState:
        return await self.world.state("t-1")

    def dispatched(self) -> list[TrainingDispatched]:
        said = [each for each in self.publisher.events if each.topic == "training.dispatched"]
        return [received(each).data for each in said]


async def running(world: World | None = None, settings: dict[str, Any] | None = None, **said: Any) -> Swept:
    swept = Swept(world, **(settings or {}))
    await swept.world.dispatched()
    await swept.world.progress("running", 1, **said)
    await swept.sweep()
    return swept
