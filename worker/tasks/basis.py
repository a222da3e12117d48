"""What a task stands on: the verdicts on its datasets, and the newest estimate of its fee. Only reads the bucket."""

from typing import Any, Literal

import msgspec
from msgspec import Struct

from contracts.form import Draft, read_draft
from contracts.task import Tolerance, TrainingDataset
from handlers import compare_and_set, datasets, layout, revisions
from handlers.datasets import KnownDataset, acceptable, objection
from handlers.ports.store import ObjectStore
from handlers.quotes import KeptQuote
from handlers.submissions import Submission
from handlers.task_data import WantedData


class DatasetNow(Struct, frozen=True, kw_only=True):
    """A dataset of a task's form or draft as it is now. ``verdict`` None: there is no report yet.

    ``objection`` is why a task that tolerates what this one does may not train on it; None where it may.
    """

    dataset_id: str
    verdict: Literal["validated", "rejected"] | None
    samples: int = 0
    valid_samples: int = 0
    objection: str | None = None


async def fee_of(store: ObjectStore, task_id: str) -> KeptQuote | None:
    """Return the newest estimate of a task's fee, or None before the first. Raises Unavailable."""
    newest = await revisions.newest(store, layout.task(task_id, "estimate"))
    return await compare_and_set.read(store, layout.quote(newest.quote_id), KeptQuote) if newest else None


async def basis_of(
    store: ObjectStore, submission: Submission | None, estimate: KeptQuote | None
) -> tuple[DatasetNow, ...]:
    """Return the datasets that a task names: its form, and before there is one the draft of the newest estimate.

    Preset datasets are not among them: which there are, the catalogue says. Raises Unavailable.
    """
    draft = _draft(submission, estimate)
    own = WantedData(draft.training_set or (), draft.validation).own_ids()
    known = await datasets.load_all(store, own)
    return tuple(_now(name, found, draft.tolerance or Tolerance()) for name, found in known.items())


def _draft(submission: Submission | None, estimate: KeptQuote | None) -> Draft:
    if submission is not None:
        form: dict[str, Any] = msgspec.json.decode(bytes(submission.form))
        return read_draft(form)
    if estimate is None or estimate.draft is None:
        return Draft()
    if estimate.draft.training_set or estimate.dataset_id is None:
        return estimate.draft
    # A draft without data of its own is about the import that carried it.
    return msgspec.structs.replace(estimate.draft, training_set=(TrainingDataset(dataset_id=estimate.dataset_id),))


def _now(name: str, found: KnownDataset | None, tolerance: Tolerance) -> DatasetNow:
    if found is None:
        return DatasetNow(dataset_id=name, verdict=None)
    return DatasetNow(
        dataset_id=name,
        verdict="validated" if acceptable(found, Tolerance()) else "rejected",
        samples=found.samples,
        valid_samples=found.valid_samples,
        objection=objection(found, tolerance),
    )
