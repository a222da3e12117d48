"""The story of a task, from what stands in the bucket: receipts in the order they were recorded, with their causes."""

from collections.abc import Iterable
from datetime import datetime

import msgspec
from msgspec import Struct

from contracts.quote import Quote
from contracts.task import Phase
from handlers import layout, submissions
from handlers.ports.store import ObjectStore
from handlers.submissions import Submission
from handlers.table import STAGES, Stage
from handlers.task_state import AttemptEnd, TaskState, resumable
from worker.could_not import NotRight
from worker.delivery.receipts import Receipt
from worker.tasks.basis import DatasetNow, basis_of, fee_of


class Chapter(Struct, frozen=True, kw_only=True):
    """One thing that was decided: when, by which stage, because of which event, and what was said of it."""

    at: datetime
    stage: str
    about: str
    outcome: str
    caused_by: str
    said: tuple[tuple[str, str], ...]


class Story(Struct, frozen=True, kw_only=True):
    """A task as it is now, and everything that was decided about it and its datasets, in order.

    ``ends`` is how the attempts before the current one ended; ``message`` says what a person can do, where one can.
    ``verdicts`` are the datasets' now; ``quote`` is the newest estimate of the fee, whose ``missing`` says why there is
    none yet. ``waits_for_quota``: the current attempt is in the queue, and its executor has heard nothing of it.
    """

    task_id: str
    phase: str | None
    reason: str | None
    party: str | None
    message: str
    attempt: int
    executor: str | None
    retry_count: int
    retry_limit: int
    resumable: bool
    ends: tuple[AttemptEnd, ...]
    datasets: tuple[str, ...]
    verdicts: tuple[DatasetNow, ...]
    quote: Quote | None
    waits_for_quota: bool
    chapters: tuple[Chapter, ...]


class UnknownTask(NotRight, LookupError):
    """Nothing in the bucket is about this task."""


async def is_task(store: ObjectStore, task_id: str) -> bool:
    """Return whether there is a task of this id, or a draft of one whose fee was estimated. Raises Unavailable."""
    names = ("state", "form", "estimate")
    return any([await store.head(layout.task(task_id, name)) is not None for name in names])


async def story_of(store: ObjectStore, task_id: str) -> Story:
    """Return a task's story. Only reads.

    Raises UnknownTask, Unavailable.
    """
    submission = await submissions.load(store, task_id)
    stored = await store.get(layout.task(task_id, "state"))
    state = msgspec.json.decode(stored.body, type=TaskState) if stored else None
    estimate = await fee_of(store, task_id)
    verdicts = await basis_of(store, submission, estimate)
    datasets = tuple(each.dataset_id for each in verdicts)
    chapters = await chapters_of(
        store, [(stage, subject) for stage in STAGES for subject in _subjects(stage.name, task_id, datasets)]
    )
    if state is None and not chapters:
        place = store.uri(layout.task(task_id, "state"))
        raise UnknownTask(
            f"nothing is known of task {task_id}: no event about it was processed over this bucket, there is no {place}"
        )
    now = state or TaskState(task_id=task_id)
    return Story(
        task_id=task_id,
        phase=now.phase.value if state else None,
        reason=now.reason if state else None,
        party=now.party,
        message=now.message,
        attempt=now.attempt,
        executor=now.executor if now.attempt else None,
        retry_count=now.retry_count,
        retry_limit=now.retry_limit,
        resumable=resumable(now),
        ends=now.ends,
        datasets=datasets,
        verdicts=verdicts,
        quote=estimate.quote if estimate else None,
        waits_for_quota=await _waits_for_quota(store, now, submission),
        chapters=chapters,
    )


async def _waits_for_quota(store: ObjectStore, state: TaskState, submission: Submission | None) -> bool:
    if submission is None or state.phase is not Phase.QUEUED:
        return False
    place = layout.admission(state.task_id, state.project, submission.submitted_at)
    return await store.head(place) is not None


def _subjects(stage: str, task_id: str, datasets: tuple[str, ...]) -> tuple[str, ...]:
    """Return whose receipts of a stage belong to the story."""
    return datasets if stage == "dataset-validation" else (task_id,)


async def chapters_of(store: ObjectStore, about: Iterable[tuple[Stage, str]]) -> tuple[Chapter, ...]:
    """Return what stages decided about tasks and datasets, in order. Only reads. Raises Unavailable."""
    found = [await _receipts(store, stage.name, stage.version, subject) for stage, subject in about]
    return tuple(sorted((chapter for some in found for chapter in some), key=lambda chapter: chapter.at))


async def _receipts(store: ObjectStore, stage: str, version: int, subject: str) -> list[Chapter]:
    keys = []
    for name in [str(number) for number in range(1, version + 1)] or ["-"]:
        # One receipt about the subject itself, or one for each thing under it; never those of a longer name.
        whole = layout.receipt(stage, name, subject)
        keys += [whole] + [info.key async for info in store.list(whole.removesuffix(".json") + "/")]
    found = [await store.get(key) for key in keys]
    return [_chapter(msgspec.json.decode(stored.body, type=Receipt)) for stored in found if stored]


def _chapter(receipt: Receipt) -> Chapter:
    return Chapter(
        at=receipt.recorded_at,
        stage=receipt.stage,
        about=receipt.business_key,
        outcome=receipt.outcome,
        caused_by=receipt.caused_by,
        said=tuple((event.topic, event.id) for event in receipt.events),
    )
