"""From a form and files to the quote, and to what is wrong with either."""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from msgspec import Struct

from contracts.form import Draft, read_form
from contracts.quote import Quote
from contracts.task import Fault, Tolerance
from handlers import bases, submissions
from handlers.datasets import KnownDataset, acceptable, invalidity
from handlers.draft_price import price_draft, wanted_by
from handlers.ports.catalog import Catalog, ModelEntry
from handlers.ports.store import ObjectStore
from handlers.task_data import WantedData
from worker.estimate.bucket import BucketAtHand
from worker.estimate.datasets import LocalCounter, checked_datasets
from worker.event_check import ignored_fields
from worker.planning.planner import StorePlanner
from worker.telemetry import configure_logging
from worker.tokens.files import CONFIG_FILE, TEMPLATE_FILE, TOKENIZER_FILE
from worker.validate.inputs import CouldNotCheck
from worker.validate.model import find_model

#: A form that is priced need not be filled in yet: what the fee needs of it is ``missing`` in the quote.
_NOT_YET = "missing-field"


class NothingToPrice(CouldNotCheck):
    """The form has no dataset that a fee could be of. What else is wrong with it is said too: all is to be mended."""

    def __init__(self, faults: tuple[Fault, ...], notes: tuple[str, ...]) -> None:
        super().__init__("the form has no training_set that can be used: name at least one dataset in it")
        self.faults, self.notes = faults, notes


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


def estimated(body: bytes, paths: Mapping[str, Sequence[str]], catalog: Catalog) -> Estimated:
    """Return what a form costs over these files, each dataset's by its id. Blocks.

    The quote is what the service says once the same files are imported, whatever the form asks for: it is made by the
    same code. Only where lists of samples that are too long lie, and until when it holds, is not in it.

    Raises:
        CouldNotCheck: the form is no JSON object, names no dataset (NothingToPrice), or one of them, or its model's
            tokenizer, cannot be read.
    """
    reading = read_form(body)
    if reading.faults and reading.faults[0].field == "":
        raise CouldNotCheck(f"the form cannot be read: {reading.faults[0].message}")
    draft, ignored = reading.draft, tuple(ignored_fields("task.created", body))
    if not draft.training_set:
        raise NothingToPrice(_faults(body, catalog), ignored)
    wanted = wanted_by(draft, draft.training_set, catalog)
    own, every = wanted.own_ids(), wanted.dataset_ids()
    if unknown := [name for name in own if name not in paths]:
        options = " ".join(f"--dataset {name}=PATH" for name in unknown)
        raise CouldNotCheck(f"the form's datasets need their files: add {options}")
    # What a tokenizer has to say must not come between a program and the JSON on stdout.
    configure_logging("console", "warning")
    with TemporaryDirectory(prefix="estimate-bucket-") as folder:
        bucket = BucketAtHand(Path(folder))
        with checked_datasets(bucket, {name: paths[name] for name in every if name in paths}) as found:
            known = {name: found.get(name) for name in every}
            counter = LocalCounter(bucket)
            quote = asyncio.run(_priced(draft, wanted, known, catalog, bucket, counter))
    return Estimated(
        quote=quote,
        faults=_faults(body, catalog),
        problems=tuple(_problems(known, own, draft.tolerance or Tolerance())),
        notes=(*ignored, *_notes(known, counter)),
    )


async def _priced(
    draft: Draft,
    wanted: WantedData,
    known: dict[str, KnownDataset | None],
    catalog: Catalog,
    bucket: BucketAtHand,
    counter: LocalCounter,
) -> Quote:
    # The bucket with exported models is not at hand: that one of them is meant is among the faults.
    base = bases.of_catalogue(draft.base_model, catalog)
    if base.model:
        await _lay_in_tokenizer(bucket, base.model)
    subject = draft.task_id or wanted.training_set[0].dataset_id
    planner = StorePlanner(bucket)
    return await price_draft(
        draft, wanted, known, base, subject=subject, catalog=catalog, tokens=counter, planner=planner
    )


async def _lay_in_tokenizer(bucket: ObjectStore, entry: ModelEntry) -> None:
    """Put a model's tokenizer where a base model lies. Raises CouldNotCheck where there is none."""
    # It opens the service's bucket, in an event loop of its own.
    files = (await asyncio.to_thread(find_model, f"{entry.name}@{entry.version}")).files
    await bucket.put(entry.prefix + TOKENIZER_FILE, files.tokenizer)
    await bucket.put(entry.prefix + CONFIG_FILE, files.config)
    if files.chat_template is not None:
        await bucket.put(entry.prefix + TEMPLATE_FILE, files.chat_template)


def _faults(body: bytes, catalog: Catalog) -> tuple[Fault, ...]:
    return tuple(fault for fault in submissions.judge(body, catalog).faults if fault.code != _NOT_YET)


def _problems(known: Mapping[str, KnownDataset | None], own: Sequence[str], tolerance: Tolerance) -> Iterator[str]:
    for name, dataset in known.items():
        # What a form tolerates is about its user's data.
        if dataset and not acceptable(dataset, tolerance if name in own else Tolerance()):
            yield f"dataset {name}: {invalidity(dataset)}; worker validate shows where"


def _notes(known: Mapping[str, KnownDataset | None], counter: LocalCounter) -> Iterator[str]:
    for name, dataset in known.items():
        if dataset is None:
            yield f"dataset {name}: the platform's preset data are priced where they lie: add --dataset {name}=PATH"
        elif too_long := counter.too_long.get(dataset.findings_key):
            yield f"dataset {name}: {too_long} of its samples are longer than the model's context, and left out"
