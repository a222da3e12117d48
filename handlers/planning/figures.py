"""What is known of a task's samples before it trains, or why not."""

from collections.abc import Mapping
from typing import NamedTuple

from contracts.training import Failure
from handlers.planning.selection import Draws
from handlers.ports.tokens import TokenCounts


class Figures(NamedTuple):
    """What an epoch sees of each dataset, and the counts of each by its id."""

    draws: Draws
    counts: Mapping[str, TokenCounts]


class Undrawn(NamedTuple):
    """Why nothing can be said of single samples. ``refusal``: as it is the form can never be trained on."""

    reasons: tuple[str, ...]
    refusal: Failure | None = None
