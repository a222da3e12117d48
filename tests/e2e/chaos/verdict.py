"""What must be true after a round, and still after a full replay."""

from collections import Counter, defaultdict
from collections.abc import Callable
from typing import Any

from handlers.task_state import TaskState
from tests.e2e.chaos.evidence import SAID, Evidence
from tests.e2e.chaos.story import Story
from tests.platform import Platform
from worker.delivery.dead_letters import reason_of

Place = tuple[str, int, int]

#: One distinct id a key, whatever crashed: topic -> what in its body tells one fact from the next.
_FACTS: dict[str, Callable[[Any], Any]] = {
    "dataset.validated": lambda data: data.dataset_id,
    "dataset.rejected": lambda data: data.dataset_id,
    "cost.estimated": lambda data: (data.task_id, data.dataset_ids),
    "training.dispatched": lambda data: (data.task_id, data.attempt),
    "model.exported": lambda data: (data.task_id, data.model_id),
    "task.status": lambda data: (data.task_id, data.revision),
}
assert _FACTS.keys() == set(SAID)


async def faults(evidence: Evidence, poison: set[Place]) -> list[str]:
    """Return everything that is not as it must be; ``poison`` is the (topic, partition, offset) of what was planted."""
    found: list[str] = []
    states = await evidence.states()
    for task_id, state in states.items():
        found += _task_faults(task_id, state, evidence)
    for dataset_id in evidence.story.datasets:
        found += _dataset_faults(dataset_id, evidence)
    left = ("waiting/", "active/", "outbox/")
    found += [f"{key} is left over" for prefix in left for key in await evidence.keys(prefix)]
    found += _repeated_facts(evidence.platform)
    found += _letter_faults(evidence.platform, poison)
    found += _receipt_faults(await evidence.keys("receipts/"), evidence.story, states)
    return found


def _task_faults(task_id: str, state: TaskState, evidence: Evidence) -> list[str]:
    story = evidence.story
    found = []
    phases = {"Failed"} if task_id in story.failed else {"Completed"}
    if task_id in story.stopped:
        phases |= {"Terminated"}
    if state.phase.value not in phases:
        found.append(f"{task_id} is {state.phase.value} ({state.reason}: {state.message}), not one of {phases}")
    exported = evidence.said("model.exported", task_id)
    attempts = {model.attempt for model in exported}
    models = {model.model_id for model in exported}
    if state.phase.value == "Completed" and (attempts != {state.promoted} or len(models) != 1):
        found.append(f"{task_id}: models {models} of attempts {attempts}, promoted is {state.promoted}")
    if state.phase.value != "Completed" and models:
        found.append(f"{task_id} is {state.phase.value} and has models {models}")
    last_said = evidence.platform.phases(task_id)[-1:]
    if last_said != [state.phase.value]:
        found.append(f"{task_id}: last said {last_said}, is {state.phase.value}")
    submitted = {job.spec.attempt for job in evidence.jobs() if job.spec.task_id == task_id}
    if unsaid := submitted - {said.attempt for said in evidence.said("training.dispatched", task_id)}:
        found.append(f"{task_id}: attempts {unsaid} were submitted and not said to be")
    return found


def _dataset_faults(dataset_id: str, evidence: Evidence) -> list[str]:
    task_id = evidence.story.task_of(dataset_id)
    bad = task_id in evidence.story.failed
    said = [topic for topic in ("dataset.validated", "dataset.rejected") if evidence.said(topic, dataset_id)]
    found = []
    if said != ["dataset.rejected" if bad else "dataset.validated"]:
        found.append(f"{dataset_id}: {said} was said of it")
    estimates = evidence.said("cost.estimated", task_id)
    if not estimates:
        found.append(f"{task_id}: an estimate was never said")
    if bad and any(estimate.quote.complete for estimate in estimates):
        found.append(f"{task_id}: there is a fee for data that cannot be trained on")
    return found


def _receipt_faults(keys: list[str], story: Story, states: dict[str, TaskState]) -> list[str]:
    """One a stage and piece of work, and no other."""
    # receipts/<stage>/<version>/<what it is about>[/more].json
    parts = [key.removesuffix(".json").split("/") for key in keys]
    kept = Counter((stage, subject) for _, stage, _, subject, *_ in parts)
    completed = [task_id for task_id, state in states.items() if state.phase.value == "Completed"]
    wanted = Counter(
        [("dataset-validation", dataset_id) for dataset_id in story.datasets]
        + [("cost-estimation", task_id) for task_id in story.tasks]
        + [("training-dispatch", task_id) for task_id in story.tasks]
        + [("model-export", task_id) for task_id in completed]
        + [("task-command", task_id) for task_id in story.stopped]
    )
    wrong = {key for key in wanted | kept if wanted[key] != kept[key]}
    return [f"{kept[key]} receipts of {key[0]} for {key[1]}, not {wanted[key]}" for key in sorted(wrong)]


def _repeated_facts(platform: Platform) -> list[str]:
    found = []
    for topic, fact in _FACTS.items():
        said: dict[Any, set[str]] = defaultdict(set)
        for event in platform.said(topic):
            said[fact(event.data)].add(event.id)
        found += [f"{topic} {what} has {len(ids)} ids" for what, ids in said.items() if len(ids) > 1]
    return found


def _letter_faults(platform: Platform, poison: set[Place]) -> list[str]:
    ids: dict[Place, set[str]] = defaultdict(set)
    for letter in platform.letters:
        said = reason_of(letter.headers)
        ids[(said["topic"], int(said["partition"]), int(said["offset"]))].add(said["id"])
    found = [f"poison {place} is in no dead-letter topic" for place in poison - ids.keys()]
    found += [f"{place} is dead-lettered, and was no poison" for place in ids.keys() - poison]
    return found + [f"{place} has {len(each)} letters" for place, each in ids.items() if len(each) > 1]
