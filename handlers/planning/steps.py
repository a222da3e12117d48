"""The arithmetic of steps, for the fee and the trainer: how many an epoch has, and where a limit on them ends training.

A step sees ``rows_a_step`` rows, and the last one of an epoch what is left of it. A row is a sample, or for formats
that are packed a row of the context.
"""

from collections.abc import Mapping
from typing import NamedTuple

from msgspec import Struct


class Limit(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Training ends after so many steps, wherever in an epoch that is. ``packed_to``: tokens of a row; None: samples.

    ``in_order``: an epoch sees its rows as they come; else they are shuffled.
    """

    steps: int
    rows_a_step: int
    packed_to: int | None = None
    in_order: bool = False


class Reach(NamedTuple):
    """How far training goes: through whole epochs, and the first ``rows`` of another one."""

    epochs: int
    rows: int


def rows_a_step(hyperparameters: Mapping[str, object]) -> int:
    """Return how many rows a step sees, in all processes together. Pure."""
    batch_size, accumulation = (hyperparameters.get(name, 1) for name in ("batch_size", "gradient_accumulation"))
    assert isinstance(batch_size, int)
    assert isinstance(accumulation, int)
    return batch_size * accumulation


def steps_an_epoch(rows: int, rows_a_step: int) -> int:
    """Return how many steps an epoch of so many rows has. Pure."""
    return -(-rows // rows_a_step)


def limit_of(hyperparameters: Mapping[str, object], *, packed_to: int | None, in_order: bool) -> Limit | None:
    """Return the limit that hyperparameters set; None: training ends with its epochs. Pure."""
    steps = hyperparameters.get("max_steps", 0)
    assert isinstance(steps, int)
    if not steps:
        return None
    return Limit(steps=steps, rows_a_step=rows_a_step(hyperparameters), packed_to=packed_to, in_order=in_order)


def reach_of(limit: Limit, rows: int) -> Reach:
    """Return how far a limit lets training go where an epoch has so many rows. Pure."""
    if not rows:
        return Reach(0, 0)
    epochs, rest = divmod(limit.steps, steps_an_epoch(rows, limit.rows_a_step))
    return Reach(epochs, rest * limit.rows_a_step)
