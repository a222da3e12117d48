"""Counts tokens without a tokenizer, ten a sample, and samples them as a test says."""

from collections.abc import Sequence

from contracts.dataset import CheckedFile
from handlers.ports import ModelEntry, TokenCounts, TokenRange


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
        self.range: TokenRange | None = None

    async def sample(
        self, files: Sequence[CheckedFile], format: str, model: ModelEntry, findings_key: str, samples: int
    ) -> TokenRange | None:
        return self.range
