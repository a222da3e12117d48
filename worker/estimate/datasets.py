"""The datasets of a form as files on this machine: checked, and laid into a bucket for the service's own code."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

from msgspec.structs import replace

from contracts.dataset import CheckedFile, Format
from handlers.datasets import KnownDataset
from handlers.ports.catalog import ModelEntry
from handlers.ports.tokens import TokenCounts
from worker.estimate.bucket import BucketAtHand
from worker.tokens.counter import StoreTokenCounter
from worker.validate.checking import check
from worker.validate.inputs import CouldNotCheck, Input, opened
from worker.validate.tokens import refuse_pipes


@contextmanager
def checked_datasets(bucket: BucketAtHand, paths: Mapping[str, Sequence[str]]) -> Iterator[dict[str, KnownDataset]]:
    """Give what the service would know of each dataset, by its id; the files are in the bucket then. Blocks.

    ``paths`` are files, directories of them, or URIs in the service's bucket. Raises CouldNotCheck where a file cannot
    be read, or only once.
    """
    with TemporaryDirectory(prefix="estimate-") as scratch, ExitStack() as stack:
        yield {
            dataset_id: _checked(bucket, number, dataset_id, given, Path(scratch), stack)
            for number, (dataset_id, given) in enumerate(paths.items())
        }


def _checked(
    bucket: BucketAtHand, number: int, dataset_id: str, given: Sequence[str], scratch: Path, stack: ExitStack
) -> KnownDataset:
    inputs = stack.enter_context(opened(given))
    refuse_pipes(inputs)
    # Ids are whatever a user likes; numbers are keys.
    laid_in = [bucket.lay_in(f"{number}/{index}.jsonl", file.path) for index, file in enumerate(inputs.files)]
    findings_key, findings = f"{number}/findings.ndjson", scratch / f"{number}.ndjson"
    report = check(inputs, "auto", max_per_code=0, advance=_silently, findings_path=findings).report
    bucket.lay_in(findings_key, findings)
    return KnownDataset(
        dataset_id=dataset_id,
        project="default",
        imported_at=datetime.now(UTC),
        digest=dataset_id,
        format=report.format,
        files=tuple(
            replace(file, uri=bucket.uri(info.key), etag=info.etag)
            for file, info in zip(report.files, laid_in, strict=True)
        ),
        samples=report.samples,
        valid_samples=report.valid_samples,
        totals=report.totals,
        findings_key=findings_key,
        unreadable=report.unreadable,
    )


class LocalCounter:
    """The TokenCounter over a bucket at hand, in this process: it blocks. Where lists of lines lie is left away."""

    def __init__(self, bucket: BucketAtHand) -> None:
        self._counter = StoreTokenCounter(bucket)
        #: How many samples of the dataset with these findings are longer than the model's context.
        self.too_long: dict[str | None, int] = {}

    async def count(
        self, files: Sequence[CheckedFile], format: Format, model: ModelEntry, findings_key: str | None = None
    ) -> TokenCounts:
        """Return the tokens of the samples that are trained on. See the port."""
        counts = await self._counter.count(files, format, model, findings_key)
        self.too_long[findings_key] = counts.too_long
        return replace(counts, left_out=())


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
