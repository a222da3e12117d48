"""Counts tokens without a tokenizer: ten a sample, or what a test says of each; and samples them as a test says."""

from collections.abc import Mapping, Sequence

from contracts.dataset import CheckedFile
from handlers import layout
from handlers.planning.sample_rows import State
from handlers.ports.catalog import ModelEntry
from handlers.ports.store import ObjectStore
from handlers.ports.tokens import TokenCounts, TokenRange, Unsampled
from tests.fakes.samples import Line, table


class FakeTokenCounter:
    """A TokenCounter that knows how many samples there are because the test says so."""

    def __init__(self, samples: int = 3) -> None:
        self.samples = samples

    async def count(
        self, files: Sequence[CheckedFile], format: str, model: ModelEntry, findings_key: str | None = None
    ) -> TokenCounts:
        total = 10 * self.samples
        return TokenCounts(
            samples=self.samples,
            total=total,
            trained=total // 2,
            masked=total // 2,
            longest=10,
            histogram={16: self.samples},
        )


class FakeTokenSampler:
    """A TokenSampler whose datasets are all small, unless a test says between what their tokens are."""

    def __init__(self) -> None:
        self.range: TokenRange | Unsampled | None = None

    async def sample(
        self, files: Sequence[CheckedFile], format: str, model: ModelEntry, findings_key: str, samples: int
    ) -> TokenRange | Unsampled | None:
        return self.range


class RowCounter:
    """A TokenCounter that knows each line of each dataset because the test says so, and leaves the rows of them."""

    def __init__(self, store: ObjectStore, lines: Mapping[str, Sequence[Line]]) -> None:
        self._store, self._lines = store, lines

    async def count(
        self, files: Sequence[CheckedFile], format: str, model: ModelEntry, findings_key: str | None = None
    ) -> TokenCounts:
        name = files[0].uri.rsplit("/", 1)[1].removesuffix(".jsonl")
        kept = [line for line in self._lines[name] if line.state is State.KEPT]
        key = layout.sample_rows(name, model.name)
        await self._store.put(key, table(self._lines[name]))
        return TokenCounts(
            samples=len(kept),
            total=sum(line.tokens for line in kept),
            trained=0,
            masked=0,
            longest=0,
            histogram={},
            too_long=sum(line.state is State.TOO_LONG for line in self._lines[name]),
            total_of_extremes=sum(line.extremes for line in kept),
            tables=(key,),
        )
