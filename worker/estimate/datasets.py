"""The datasets of a form as files on this machine: checked, and counted when the fee asks for their tokens."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from contracts.dataset import CheckedFile, Format
from handlers.datasets import KnownDataset
from handlers.ports import ModelEntry, TokenCounts
from worker.validate.checking import Checked, check
from worker.validate.inputs import CouldNotCheck, Input, opened
from worker.validate.model import Model
from worker.validate.tokens import Counting, encoder_of, refuse_pipes


class LocalDataset(NamedTuple):
    """What a check found of one dataset's files; ``findings`` has every finding, one a line."""

    dataset_id: str
    checked: Checked
    findings: Path

    def known(self) -> KnownDataset:
        """Return what the service would know of it."""
        report = self.checked.report
        return KnownDataset(
            dataset_id=self.dataset_id,
            project="default",
            imported_at=datetime.now(UTC),
            digest=self.dataset_id,
            format=report.format,
            files=report.files,
            samples=report.samples,
            valid_samples=report.valid_samples,
            totals=report.totals,
            findings_key=str(self.findings),
            unreadable=report.unreadable,
        )


@contextmanager
def checked_datasets(paths: Mapping[str, Sequence[str]]) -> Iterator[dict[str, LocalDataset]]:
    """Give each dataset checked, by its id. Blocks. ``paths`` are files, directories of them, or URIs in the bucket.

    Raises CouldNotCheck where a file cannot be read, or only once.
    """
    with TemporaryDirectory(prefix="estimate-") as scratch, ExitStack() as stack:
        found: dict[str, LocalDataset] = {}
        for number, (dataset_id, given) in enumerate(paths.items()):
            inputs = stack.enter_context(opened(given))
            refuse_pipes(inputs)
            findings = Path(scratch, f"{number}.ndjson")
            checked = check(inputs, "auto", max_per_code=0, advance=_silently, report_path=findings)
            found[dataset_id] = LocalDataset(dataset_id, checked, findings)
        yield found


class LocalCounter:
    """The TokenCounter over checked files, for one model, in this process: it blocks, and keeps nothing.

    Raises CouldNotCheck where the model's files cannot be used.
    """

    def __init__(self, datasets: Mapping[str, LocalDataset], model: Model | None) -> None:
        self._by_findings = {str(dataset.findings): dataset for dataset in datasets.values()}
        self._model = model
        self._encoder = encoder_of(model) if model else None
        #: How many samples of each dataset are longer than the model's context.
        self.too_long: dict[str, int] = {}

    async def count(
        self,
        files: Sequence[CheckedFile],  # noqa: ARG002 - the findings say which dataset it is
        format: Format,  # noqa: ARG002 - the same
        model: ModelEntry,  # noqa: ARG002 - it is the one that files were found for
        findings_key: str | None = None,
    ) -> TokenCounts:
        """Return the tokens of the samples that are trained on. Raises CouldNotCheck."""
        assert self._model is not None, "tokens are those of a model"
        assert self._encoder is not None
        dataset = self._by_findings[str(findings_key)]
        counting = Counting(dataset.checked, dataset.findings, self._model, _silently)
        _, counted = counting.run(self._encoder, max_per_code=0, report_path=None)
        if counted is None:
            raise CouldNotCheck(f"dataset {dataset.dataset_id}: its format is not known")
        if counted.counts.too_long:
            self.too_long[dataset.dataset_id] = counted.counts.too_long
        return counted.counts


def paths_of(given: Sequence[str]) -> dict[str, list[str]]:
    """Return the paths of each dataset from ``ID=PATH`` options. Raises CouldNotCheck for one that is not so."""
    paths: dict[str, list[str]] = {}
    for each in given:
        dataset_id, equals, path = each.partition("=")
        if not (dataset_id and equals and path):
            raise CouldNotCheck(f"--dataset {each}: must be ID=PATH, for example --dataset poems=poems.jsonl")
        paths.setdefault(dataset_id, []).append(path)
    return paths


def _silently(file: Input, size: int) -> None:
    """Tell nobody how far reading is."""
