"""A world whose projects keep models for a while, and a sweep that lets them go."""

from collections.abc import Sequence
from typing import Any

import msgspec

from contracts.envelope import Event
from contracts.model import Manifest
from handlers import layout
from handlers.tenancy.projects import ProjectRules, Projects
from tests.fakes.delivery import FakePublisher
from tests.fakes.faults import Faults
from tests.fakes.world import World, form_event, received
from worker.sweeps.retention import RetentionSweep

DAYS = 30
DAY = 86_400.0


def on(model_id: str) -> dict[str, Any]:
    """Return what a form says that trains on an exported model."""
    return {"base_model": {"custom_model_id": model_id}}


class Retained:
    """``another`` is a worker that was just started; ``publisher`` says what was acknowledged, of all of them."""

    def __init__(self, world: World | None = None, faults: Faults | None = None) -> None:
        self.world = world or World()
        self.world.ports["projects"] = Projects(named={"default": ProjectRules(model_retention_days=DAYS)})
        self.publisher = _FaultyPublisher(faults or Faults())
        self.sweeper = self.another()

    def another(self, every_seconds: float = 3600.0) -> RetentionSweep:
        ports = self.world.ports
        return RetentionSweep(
            ports["store"],
            ports["receipts"],
            ports["projects"],
            self.publisher,
            ports["clock"],
            every_seconds=every_seconds,
        )

    async def sweep(self, *, times: int = 1, after_days: float = 0, by: RetentionSweep | None = None) -> None:
        await self.world.clock.advance(after_days * DAY)
        for _ in range(times):
            await (by or self.sweeper).sweep()

    async def exported(self, task_id: str = "t-1", *steps: int, **form: Any) -> str:
        """Have a task train and its models exported; return the id of the last."""
        await self.began(task_id, **form)
        return await self.succeeded(task_id, *steps)

    async def began(self, task_id: str, **form: Any) -> None:
        await self.world.run(await self.world.import_dataset("d-1", b"{}\n"), form_event(task_id, "d-1", **form))

    async def succeeded(self, task_id: str, *steps: int) -> str:
        outputs = [await self.world.leave_output(task_id, step=step) for step in steps or (10,)]
        (status,) = (await self.world.progress("succeeded", 5, task_id, outputs=outputs)).events
        said = await self.world.run(received(status))
        await self.world.store.delete(layout.active(task_id))  # as the reconciler does with a task that has ended
        models: list[str] = [received(each).data.model_id for each in said if each.topic == "model.exported"]
        return models[-1]

    def manifest(self, model_id: str) -> Manifest:
        return msgspec.json.decode(self.world.store.objects[layout.model(model_id) + "manifest.json"], type=Manifest)

    def files(self, model_id: str) -> list[str]:
        """Return which files of a model are there."""
        prefix = layout.model(model_id)
        return [key.removeprefix(prefix) for key in self.world.keys(prefix)]

    def said(self) -> list[Any]:
        return [received(each).data for each in self.publisher.events]


class _FaultyPublisher(FakePublisher):
    """A FakePublisher whose every call may be the last."""

    def __init__(self, faults: Faults) -> None:
        super().__init__()
        self._faults = faults

    async def publish(self, events: Sequence[Event[Any]]) -> None:
        await self._faults.call("publish", super().publish(events))
