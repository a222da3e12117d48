"""Adding up what samples have in tokens, and naming those that are too long."""

from collections.abc import Callable, Sequence

from contracts.datasets.findings import CODES, Finding
from handlers.ports.tokens import TokenCounts
from worker.tokens.encoder import EncodedSample

TOO_LONG = "sample-too-long"


class Tally:
    """The sums, one sample at a time. ``report`` gets the finding on each sample that is longer than the context.

    ``context_length`` in tokens; None: nothing is too long.
    """

    def __init__(self, context_length: int | None, report: Callable[[Finding], None]) -> None:
        self._context_length, self._report = context_length, report
        self._samples = self._total = self._trained = self._longest = self._too_long = self._of_extremes = 0
        self._histogram: dict[int, int] = {}

    def add(self, sample: EncodedSample, line: int, file: int = 0) -> bool:
        """Count the sample of a line; return whether it is kept, since it is not too long."""
        length = sample.longest
        if self._context_length is not None and length > self._context_length and not sample.packed:
            self._too_long += 1
            self._report(too_long(length, self._context_length, line, file))
            return False
        self._samples += 1
        self._total += sample.total
        self._trained += sample.trained - self._cuts(sample)
        self._of_extremes += sample.total_of_extremes
        self._longest = max(self._longest, length)
        bound = 1 << (length - 1).bit_length() if length else 0
        self._histogram[bound] = self._histogram.get(bound, 0) + 1
        return True

    def _cuts(self, sample: EncodedSample) -> int:
        """Return how often a text is cut to the context: nothing predicts the first token behind a cut."""
        return (sample.longest - 1) // self._context_length if sample.packed and self._context_length else 0

    def counts(self) -> TokenCounts:
        """Return the sums."""
        return TokenCounts(
            samples=self._samples,
            total=self._total,
            trained=self._trained,
            masked=self._total - self._trained,
            longest=self._longest,
            histogram=dict(sorted(self._histogram.items())),
            too_long=self._too_long,
            total_of_extremes=self._of_extremes,
        )


def too_long(length: int, context_length: int, line: int, file: int) -> Finding:
    """Return the finding on a sample that is left out. Lengths in tokens."""
    return Finding(
        line=line,
        pointer="",
        code=TOO_LONG,
        severity=CODES[TOO_LONG].severity,
        message=f"{length} tokens; the model's context has {context_length}",
        hint="left out of training: shorten it, or split it into several samples",
        file=file,
    )


def merged(parts: Sequence[TokenCounts]) -> TokenCounts:
    """Return the counts of several files together."""
    histogram: dict[int, int] = {}
    for part in parts:
        for bound, samples in part.histogram.items():
            histogram[bound] = histogram.get(bound, 0) + samples
    return TokenCounts(
        samples=sum(part.samples for part in parts),
        total=sum(part.total for part in parts),
        trained=sum(part.trained for part in parts),
        masked=sum(part.masked for part in parts),
        longest=max((part.longest for part in parts), default=0),
        histogram=dict(sorted(histogram.items())),
        too_long=sum(part.too_long for part in parts),
        total_of_extremes=sum(part.total_of_extremes for part in parts),
        left_out=tuple(file for part in parts for file in part.left_out),
        tables=tuple(table for part in parts for table in part.tables),
    )
