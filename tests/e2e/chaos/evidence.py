"""What a verdict is built on: everything that was said, and everything that is in the bucket and on the machine."""

from dataclasses import dataclass
from typing import Any, NamedTuple

from handlers import task_state
from handlers.ports.store import ObjectStore
from handlers.task_state import TaskState
from tests.e2e.chaos.jobs import Job, jobs_of
from tests.e2e.chaos.story import Story
from tests.e2e.chaos.trainers import TrainerKind
from tests.platform import Platform
from worker.delivery.dead_letters import reason_of
from worker.settings import Settings

#: The topics of our own events.
SAID = (
    "dataset.validated",
    "dataset.rejected",
    "cost.estimated",
    "training.dispatched",
    "model.exported",
    "task.status",
)


@dataclass(frozen=True)
class Evidence:
    """Where to look. ``settings`` are the workers'."""

    store: ObjectStore
    platform: Platform
    story: Story
    kind: TrainerKind
    settings: Settings

    async def keys(self, prefix: str) -> list[str]:
        """Return the keys under a prefix."""
        return [info.key async for info in self.store.list(prefix)]

    async def states(self) -> dict[str, TaskState]:
        """Return the state of every task that has one."""
        found = {task_id: await task_state.read(self.store, task_id) for task_id in self.story.tasks}
        return {task_id: state for task_id, state in found.items() if state is not None}

    def jobs(self) -> list[Job]:
        """Return every job that was ever submitted."""
        return jobs_of(self.settings.work_dir)

    def said(self, topic: str, key: str) -> list[Any]:
        """Return the bodies of what was said of a task or a dataset, repeats included."""
        return [event.data for event in self.platform.said(topic, key)]


class Books(NamedTuple):
    """Everything that may not change in a replay: ids said, receipts, jobs and what began to train, letters, states,
    and every object of every model."""

    ids: dict[str, frozenset[str]]
    receipts: frozenset[str]
    jobs: frozenset[tuple[str, int]]
    runs: frozenset[str]
    letters: frozenset[str]
    states: dict[str, TaskState]
    models: frozenset[tuple[str, str]]


async def books_of(evidence: Evidence) -> Books:
    """Return what was said, done and kept so far."""
    return Books(
        ids={topic: frozenset(evidence.platform.ids(topic)) for topic in SAID},
        receipts=frozenset(await evidence.keys("receipts/")),
        jobs=frozenset((job.folder.name, len(job.log("training.started"))) for job in evidence.jobs()),
        runs=frozenset(await evidence.keys("runs/")),
        letters=frozenset(reason_of(letter.headers)["id"] for letter in evidence.platform.letters),
        states=await evidence.states(),
        models=frozenset([(info.key, info.etag) async for info in evidence.store.list("models/")]),
    )
