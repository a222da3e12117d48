"""What is counted in valid samples."""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Literal

Statistic = Literal["roles", "labels", "candidates", "spellings"]

#: One thing counted: in which statistic, and under which name.
Counted = tuple[Statistic, str]


class Tally:
    """Counts what samples have. The names are few: they are chosen by the rules, never taken from a dataset."""

    def __init__(self) -> None:
        self._counts: Counter[Counted] = Counter()

    def add(self, counted: Iterable[Counted]) -> None:
        """Count what one valid sample has."""
        self._counts.update(counted)

    def add_times(self, counted: Mapping[Counted, int], times: int) -> None:
        """Count what each of so many valid samples has."""
        for each, count in counted.items():
            self._counts[each] += count * times

    def of(self, statistic: Statistic) -> dict[str, int]:
        """Return one statistic, by name."""
        return {name: count for (kind, name), count in sorted(self._counts.items()) if kind == statistic}


def total(counts: Iterable[Mapping[str, int]]) -> dict[str, int]:
    """Return the sum of counts, by name."""
    added: Counter[str] = Counter()
    for each in counts:
        added.update(each)
    return dict(sorted(added.items()))
