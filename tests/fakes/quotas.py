"""A world with quotas, and steps that several tests take in it."""

from typing import Any

from contracts.task import Phase
from handlers.ports.executors import Choice
from handlers.ports.jobs import Resources
from handlers.tenancy import queue
from handlers.tenancy.ledger import Ledger
from handlers.tenancy.limits import Limits
from handlers.tenancy.projects import ProjectRules, Projects
from tests.fakes.events import TIMESTAMP_MS, event
from tests.fakes.swept import Swept
from tests.fakes.world import World, form


def limited(world: World | None = None, *, platform: Limits | None = None, **limits: Any) -> Swept:
    """Return a world where every project has these limits."""
    world = world or World()
    world.ports["projects"] = Projects(ProjectRules(limits=Limits(**limits)), platform=platform)
    return Swept(world, queue_position_seconds=30.0)


def gpus(world: World, number: int, seconds: int | None = 3600) -> None:
    """Let every job have GPUs, for so long at most."""
    world.ports["executors"].choice = Choice("local", Resources(gpus=number, time_limit_seconds=seconds))


def submitted(task_id: str, project: str = "default", minutes: int = 0, **changes: Any) -> Any:
    """Return the event of a form that was submitted so many minutes after the first one."""
    body = form(task_id, "d-1", project=project, **changes)
    return event("task.created", body, timestamp_ms=TIMESTAMP_MS + minutes * 60_000)


async def submits(world: World, *events: Any) -> list[Any]:
    """Import the dataset where it is missing, and submit forms."""
    if not world.keys("datasets/d-1/current"):
        await world.run(await world.import_dataset("d-1", b"{}\n"))
    return [said for each in events for said in await world.run(each)]


async def ended(swept: Swept, task_id: str, attempt: int = 1) -> None:
    """Let a task's job end well."""
    swept.world.executor.end(task_id, attempt, 0)
    await swept.world.progress("succeeded", 9, task_id, attempt=attempt, outputs=[])


async def grants(world: World) -> Ledger:
    return await queue.read(world.store)


def started(world: World) -> list[str]:
    return [task_id for task_id, _ in world.executor.started]


async def phase(world: World, task_id: str) -> tuple[Phase, str, int | None]:
    state = await world.state(task_id)
    return state.phase, state.reason, state.queue_position
