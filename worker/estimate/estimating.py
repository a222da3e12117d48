"""From a form and files to the quote, and to what is wrong with either."""

import asyncio
from collections.abc import Iterable, Iterator, Mapping, Sequence

from msgspec import Struct

from contracts.form import read_form
from contracts.quote import Quote
from contracts.task import Fault, Tolerance
from handlers import bases, submissions
from handlers.datasets import KnownDataset, acceptable
from handlers.draft_price import price_draft, wanted_by
from handlers.planning.selection import Draws, Selection
from handlers.ports import Catalog, ModelEntry
from worker.estimate.datasets import LocalCounter, checked_datasets
from worker.validate.inputs import CouldNotCheck
from worker.validate.model import Model, find_model

#: A form that is priced need not be filled in yet: what the fee needs of it is ``missing`` in the quote.
_NOT_YET = "missing-field"


class Estimated(Struct, frozen=True, kw_only=True):
    """The quote, and why a task with this form and these data would be refused, as far as can be seen here.

    ``faults`` are the form's, ``problems`` the data's; ``notes`` refuse nothing.
    """

    quote: Quote
    faults: tuple[Fault, ...]
    problems: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def right(self) -> bool:
        """Return whether the fee is known and nothing would be refused."""
        return self.quote.complete and not self.faults and not self.problems


class _NoRows:
    """The Planner where no rows of samples are kept: what would be drawn is missing in the quote."""

    async def draw(self, selection: Selection, task_id: str | None = None) -> Draws:  # noqa: ARG002 - as the port
        """Raise FileNotFoundError. See the port."""
        raise FileNotFoundError("rows of samples are kept by the service alone")


def estimated(body: bytes, paths: Mapping[str, Sequence[str]], catalog: Catalog) -> Estimated:
    """Return what a form costs over these files, each dataset's by its id. Blocks.

    Raises:
        CouldNotCheck: the form is no JSON object, or a dataset of it, or its model's tokenizer, cannot be read.
    """
    reading = read_form(body)
    if reading.faults and reading.faults[0].field == "":
        raise CouldNotCheck(f"the form cannot be read: {reading.faults[0].message}")
    draft = reading.draft
    training_set = draft.training_set or ()
    if not training_set:
        raise CouldNotCheck("the form has no training_set that can be used: name at least one dataset in it")
    if unknown := [wanted.dataset_id for wanted in training_set if wanted.dataset_id not in paths]:
        options = " ".join(f"--dataset {name}=PATH" for name in unknown)
        raise CouldNotCheck(f"the form's datasets need their files: add {options}")
    with checked_datasets({wanted.dataset_id: paths[wanted.dataset_id] for wanted in training_set}) as datasets:
        known: dict[str, KnownDataset | None] = {name: dataset.known() for name, dataset in datasets.items()}
        # A bucket with exported models is not at hand: that one is meant is among the faults.
        base = bases.of_catalogue(draft.base_model, catalog)
        counter = LocalCounter(datasets, _model(base.model))
        subject = draft.task_id or training_set[0].dataset_id
        wanted = wanted_by(draft, training_set, catalog)
        known |= {name: None for name in wanted.dataset_ids() if name not in known}
        priced = price_draft(
            draft, wanted, known, base, subject=subject, catalog=catalog, tokens=counter, planner=_NoRows()
        )
        quote = asyncio.run(priced)
    return Estimated(
        quote=quote,
        faults=tuple(fault for fault in submissions.judge(body, catalog).faults if fault.code != _NOT_YET),
        problems=tuple(_problems(known.values(), draft.tolerance or Tolerance())),
        notes=tuple(
            f"dataset {name}: {count} of its samples are longer than the model's context, and left out"
            for name, count in counter.too_long.items()
        ),
    )


def _model(entry: ModelEntry | None) -> Model | None:
    return find_model(f"{entry.name}@{entry.version}") if entry else None


def _problems(datasets: Iterable[KnownDataset | None], tolerance: Tolerance) -> Iterator[str]:
    for known in datasets:
        if known and not acceptable(known, tolerance):
            invalid, codes = known.samples - known.valid_samples, ", ".join(known.totals) or "empty"
            where = "worker validate shows where"
            yield f"dataset {known.dataset_id}: {invalid} of {known.samples} samples are invalid ({codes}); {where}"
