"""A curve as SVG's numbers: points in a box, and round ticks. Pure; the template draws it."""

import math
from collections.abc import Sequence
from typing import NamedTuple

WIDTH, HEIGHT = 640, 260
LEFT, RIGHT, TOP, BOTTOM = 76, 16, 12, 30


class Tick(NamedTuple):
    """A mark on an axis: where, and what is written there."""

    at: float
    label: str


class Curve(NamedTuple):
    """Lines (SVG's ``points``, one a series) and the ticks of both axes."""

    lines: tuple[str, ...]
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]


def curve(series: Sequence[Sequence[tuple[float, float]]]) -> Curve | None:
    """Return the curve of several series over shared axes; None where there is no finite point."""
    finite = [[(x, y) for x, y in each if math.isfinite(x) and math.isfinite(y)] for each in series]
    every = [point for each in finite for point in each]
    if not every:
        return None
    x_axis = _Axis([x for x, _ in every], LEFT, WIDTH - RIGHT, whole=True)
    y_axis = _Axis([y for _, y in every], HEIGHT - BOTTOM, TOP)
    lines = tuple(" ".join(f"{x_axis.at(x):.1f},{y_axis.at(y):.1f}" for x, y in each) for each in finite)
    return Curve(lines, x_axis.ticks(), y_axis.ticks())


class _Axis:
    """Maps values to a stretch of the box, its ends at round numbers."""

    def __init__(self, values: Sequence[float], start: float, end: float, *, whole: bool = False) -> None:
        low, high = min(values), max(values)
        if high == low:
            # One value, or a flat line, lies in the middle.
            half = abs(low) / 2 or 1.0
            low, high = low - half, high + half
        self._step = _round_step((high - low) / 5)
        if whole:
            self._step = max(1.0, self._step)
        else:
            low, high = math.floor(low / self._step) * self._step, math.ceil(high / self._step) * self._step
        self._low, self._high, self._start, self._end = low, high, start, end

    def at(self, value: float) -> float:
        return self._start + (value - self._low) / (self._high - self._low) * (self._end - self._start)

    def ticks(self) -> tuple[Tick, ...]:
        first, last = math.ceil(self._low / self._step - 1e-9), math.floor(self._high / self._step + 1e-9)
        return tuple(Tick(self.at(i * self._step), f"{i * self._step:.6g}") for i in range(first, last + 1))


def _round_step(about: float) -> float:
    """Return 1, 2 or 5 times a power of ten, not below what is given."""
    power = 10.0 ** math.floor(math.log10(about))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= about * (1 - 1e-9))
