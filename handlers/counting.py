"""Token counts for one decision: which samples of its datasets are trained on, and how many tokens they have."""

from collections.abc import Mapping
from typing import Literal, NamedTuple

from contracts.dataset import Format
from contracts.datasets.findings import FILE_ERRORS
from handlers.datasets import KnownDataset
from handlers.errors import PreconditionFailed
from handlers.ports.catalog import ModelEntry
from handlers.ports.tokens import TokenCounter, TokenCounts, TokenRange, TokenSampler, Unsampled

#: The lowest, or the highest number that may be.
End = Literal[0, 1]


class Sampled(NamedTuple):
    """A dataset of so many valid samples whose tokens are in a range."""

    samples: int
    range: TokenRange

    def at(self, end: End) -> TokenCounts:
        """Return the counts it has at one end, as far as a fee asks for them."""
        total, of_extremes = self.range.total[end], self.range.total_of_extremes[end]
        return TokenCounts(
            samples=self.samples,
            total=total,
            trained=0,
            masked=0,
            longest=0,
            histogram={},
            total_of_extremes=of_extremes,
        )


class Counts:
    """The counts of datasets for one model, each asked for once.

    With a ``sampler`` a large dataset is not counted: ``at`` says between which numbers its tokens are, where that can
    be said.
    """

    def __init__(
        self,
        model: ModelEntry,
        tokens: TokenCounter,
        sampler: TokenSampler | None = None,
        *,
        found: Mapping[tuple[str, str], TokenCounts | str] | None = None,
    ) -> None:
        """``found``: counts that are known, by dataset and digest."""
        self._model, self._tokens, self._sampler = model, tokens, sampler
        self._found = dict(found or {})
        self._sampled: dict[tuple[str, str], Sampled] = {}
        #: Whether there are datasets whose tokens are still to be counted, sampled or not.
        self.counting = False

    @property
    def sampled(self) -> int:
        """Return how many samples were tokenised of datasets that were not counted; 0: all that was asked for was."""
        return sum(each.range.sampled for each in self._sampled.values())

    def at(self, end: End) -> "Counts":
        """Return these counts with the lowest, or the highest, that datasets which were only sampled may have."""
        return Counts(
            self._model, self._tokens, found=self._found | {key: each.at(end) for key, each in self._sampled.items()}
        )

    async def of(self, known: KnownDataset) -> TokenCounts | str:
        """Return a dataset's counts, or why it has none. Raises Unavailable where the bucket does not answer."""
        key = (known.dataset_id, known.digest)
        if key not in self._found:
            self._found[key] = await self._count(known)
        return self._found[key]

    async def _count(self, known: KnownDataset) -> TokenCounts | str:
        if known.format is None or known.unreadable is not None:
            return "cannot be read"
        if broken := sorted(FILE_ERRORS.intersection(known.totals)):
            return f"cannot be trained on ({', '.join(broken)}); see its report"
        try:
            if self._sampler and (found := await self._sample(self._sampler, known, known.format)):
                self.counting = True
                if isinstance(found, TokenRange):
                    self._sampled[known.dataset_id, known.digest] = Sampled(known.valid_samples, found)
                return "its tokens are still being counted"
            return await self._tokens.count(known.files, known.format, self._model, known.findings_key)
        except (LookupError, ValueError, FileNotFoundError, PreconditionFailed) as error:
            return f"its tokens cannot be counted: {error}"

    async def _sample(
        self, sampler: TokenSampler, known: KnownDataset, format: Format
    ) -> TokenRange | Unsampled | None:
        return await sampler.sample(known.files, format, self._model, known.findings_key, known.valid_samples)
