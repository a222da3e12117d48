"""What a random sample says about a whole, as an interval: Cochran, Sampling Techniques, 3rd ed., 5.4 and 6.11.

The whole is divided into strata, each stratum into ``N`` blocks, of which ``m`` are drawn at random without
replacement. Each block has a size ``x``, whose sum ``X`` over everything is known, and a value ``y``, whose sum is
wanted. The combined ratio estimator is::

    R = sum over strata of N/m * sum(y)  /  sum over strata of N/m * sum(x)
    Y = R * X
    V = sum over strata of N^2 / m * (1 - m/N) * s^2,    s^2 the sample variance of y - R * x

and the interval Y -+ t * sqrt(V), where t is Student's quantile at the degrees of freedom of Satterthwaite.

That is right for values about as large as their sizes say. Where one block in fifty has three times as much, an
interval by the quantile of 99 % held 97 % of true sums in simulations; so that of 99.8 % is taken for what is called
99 %.
"""

from collections.abc import Sequence
from math import ceil, floor, sqrt
from statistics import NormalDist, variance
from typing import NamedTuple

#: The quantile is that of so many percent: what the interval holds is 99 %, see above.
_QUANTILE = 0.998


class Stratum(NamedTuple):
    """One stratum: how many blocks it has, and (x, y) of those that were drawn. At least two, or all of them."""

    blocks: int
    drawn: Sequence[tuple[int, int]]

    @property
    def whole(self) -> bool:
        """Return whether every block was drawn."""
        return len(self.drawn) == self.blocks

    @property
    def weight(self) -> float:
        """Return how many blocks each drawn one stands for."""
        return self.blocks / len(self.drawn)


def interval(strata: Sequence[Stratum], size: int) -> tuple[int, int] | None:
    """Return between which whole numbers the sum of all values is; None where nothing that has a size was drawn. Pure.

    ``size`` is the sum of all sizes. The same two numbers, exact, where everything was drawn.
    """
    seen = sum(y for stratum in strata for _, y in stratum.drawn)
    if all(stratum.whole for stratum in strata):
        return seen, seen
    sizes = sum(stratum.weight * sum(x for x, _ in stratum.drawn) for stratum in strata)
    if not sizes:
        return None
    ratio = sum(stratum.weight * sum(y for _, y in stratum.drawn) for stratum in strata) / sizes
    parts = [(_variance(stratum, ratio), len(stratum.drawn) - 1) for stratum in strata if not stratum.whole]
    total = sum(part for part, _ in parts)
    half = 0.0
    if total:
        half = _student(total**2 / sum(part**2 / freedom for part, freedom in parts)) * sqrt(total)
    return max(seen, floor(ratio * size - half)), ceil(ratio * size + half)


def _variance(stratum: Stratum, ratio: float) -> float:
    left = 1 - len(stratum.drawn) / stratum.blocks
    return stratum.blocks * stratum.weight * left * variance(y - ratio * x for x, y in stratum.drawn)


def _student(freedom: float) -> float:
    """Return the quantile of Student's t, by the expansion of Cornish and Fisher: 0.1 % off at 10 degrees of freedom.

    At 3 degrees it is 3 % too low, and sampled strata have 15 at least.
    """
    z = NormalDist().inv_cdf((1 + _QUANTILE) / 2)
    first = (z**3 + z) / 4
    second = (5 * z**5 + 16 * z**3 + 3 * z) / 96
    third = (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384
    return z + first / freedom + second / freedom**2 + third / freedom**3
