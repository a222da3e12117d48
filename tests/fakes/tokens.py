"""Counts tokens without a tokenizer: ten a sample."""

from collections.abc import Sequence

from contracts.dataset import CheckedFile
from handlers.ports import ModelEntry, TokenCounts


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
