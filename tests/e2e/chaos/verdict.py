"""What must be true after a round, and still after a full replay."""

from collections import Counter, defaultdict
from collections.abc import Callable
from typing import Any, NamedTuple

import msgspec

from handlers import layout
from handlers.ports import ObjectStore
from handlers.task_state import TaskState
from tests.e2e.chaos.story import Story
from tests.platform import Platform
from worker.delivery.dead_letters import reason_of

#: One distinct id a key, whatever crashed: topic -> what in its body tells one fact from the next.
_FACTS: dict[str, Callable[[Any], Any]] = {
    "dataset.validated": lambda data: data.dataset_id,
    "dataset.rejected": lambda data: data.dataset_id,
    "cost.estimated": lambda data: (data.task_id, data.dataset_ids),
    "training.dispatched": lambda data: (data.task_id, data.attempt),
    "model.exported": lambda data: (data.task_id, data.model_id),
    "task.status": lambda data: (data.task_id, data.revision),
}


class Books(NamedTuple):
    """Everything that may not change in a replay: ids said, receipts, runs, letters, states."""

    ids: dict[str, frozenset[str]]
    receipts: frozenset[str]
    runs: frozenset[str]
    letters: frozenset[str]
    states: dict[str, tuple[str, int, int | None]]


async def states_of(store: ObjectStore, story: Story) -> dict[str, TaskState]:
    """Return the state of every task that has one."""
    found = {}
    for task_id in story.tasks:
        if stored := await store.get(layout.task(task_id, "state")):
            found[task_id] = msgspec.json.decode(stored.body, type=TaskState)
    return found


async def books_of(store: ObjectStore, platform: Platform, story: Story) -> Books:
    """Return what was said and kept so far."""
    return Books(
        ids={topic: frozenset(platform.ids(topic)) for topic in _FACTS},
        receipts=frozenset(await keys(store, "receipts/")),
        runs=frozenset(await keys(store, "runs/")),
        letters=frozenset(reason_of(letter.headers)["id"] for letter in platform.letters),
        states={
            task_id: (state.phase.value, state.attempt, state.promoted)
            for task_id, state in (await states_of(store, story)).items()
        },
    )


async def keys(store: ObjectStore, prefix: str) -> list[str]:
    """Return the keys under a prefix."""
    return [info.key async for info in store.list(prefix)]


async def faults(store: ObjectStore, platform: Platform, story: Story, poison: set[tuple[str, int, int]]) -> list[str]:
    """Return everything that is not as it must be; ``poison`` is the (topic, partition, offset) of what was planted."""
    found: list[str] = []
    for task_id, state in (await states_of(store, story)).items():
        found += _task_faults(task_id, state, platform, story)
    found += [f"{key} is left over" for prefix in ("waiting/", "active/") for key in await keys(store, prefix)]
    found += _repeated_facts(platform)
    found += _letter_faults(platform, poison)
    receipts = Counter(key.split("/")[1] for key in await keys(store, "receipts/"))
    if receipts["dataset-validation"] != len(story.datasets):
        found.append(f"{receipts['dataset-validation']} receipts for {len(story.datasets)} datasets")
    return found


def _task_faults(task_id: str, state: TaskState, platform: Platform, story: Story) -> list[str]:
    found = []
    phases = {"Failed"} if task_id in story.failed else {"Completed"}
    if task_id in story.stopped:
        phases |= {"Terminated"}
    if state.phase.value not in phases:
        found.append(f"{task_id} is {state.phase.value} ({state.reason}: {state.message}), not one of {phases}")
    exported = platform.said("model.exported", task_id)
    attempts = {event.data.attempt for event in exported}
    models = {event.data.model_id for event in exported}
    if state.phase.value == "Completed" and (attempts != {state.promoted} or len(models) != 1):
        found.append(f"{task_id}: models {models} of attempts {attempts}, promoted is {state.promoted}")
    if state.phase.value != "Completed" and models:
        found.append(f"{task_id} is {state.phase.value} and has models {models}")
    if exported and platform.phases(task_id)[-1] != state.phase.value:
        found.append(f"{task_id}: last said {platform.phases(task_id)[-1]}, is {state.phase.value}")
    return found


def _repeated_facts(platform: Platform) -> list[str]:
    found = []
    for topic, fact in _FACTS.items():
        said: dict[Any, set[str]] = defaultdict(set)
        for event in platform.said(topic):
            said[fact(event.data)].add(event.id)
        found += [f"{topic} {what} has {len(ids)} ids" for what, ids in said.items() if len(ids) > 1]
    return found


def _letter_faults(platform: Platform, poison: set[tuple[str, int, int]]) -> list[str]:
    ids: dict[tuple[str, int, int], set[str]] = defaultdict(set)
    for letter in platform.letters:
        said = reason_of(letter.headers)
        ids[(said["topic"], int(said["partition"]), int(said["offset"]))].add(said["id"])
    found = [f"poison {place} is in no dead-letter topic" for place in poison - ids.keys()]
    found += [f"{place} is dead-lettered, and was no poison" for place in ids.keys() - poison]
    return found + [f"{place} has {len(each)} letters" for place, each in ids.items() if len(each) > 1]
