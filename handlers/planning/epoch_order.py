"""In which order an epoch sees its rows: the trainer goes by it, and a fee that ends within an epoch counts by it."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from handlers.planning.chance import Draw, order_of

#: Says which of the rows [first, first + size) are among those that were asked for.
Among = Callable[[int, int], NDArray[np.bool_]]


class EpochOrder(NamedTuple):
    """The order of one epoch, counted from 0: as the rows come, or one that follows from seed and epoch alone."""

    rows: int
    seed: int
    epoch: int
    in_order: bool = False

    def all(self) -> NDArray[np.int64]:
        """Return the numbers of all rows."""
        return np.arange(self.rows) if self.in_order else order_of(self.rows, *self._words())

    def first(self, count: int) -> Among:
        """Return what says whether rows are among the first so many, at most all. Takes no memory."""
        if self.in_order:
            return lambda first, size: np.arange(first, first + size) < count
        draw = Draw.of(self.rows, count, *self._words())
        return lambda first, size: draw.times(first, size) > 0

    def _words(self) -> tuple[object, ...]:
        return self.seed, "epoch", self.epoch
