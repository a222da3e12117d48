"""The candidates of a preference sample: their texts, how they rank, and which of them are compared."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple


class Candidate(NamedTuple):
    """One answer. ``rank`` 0 is the best; equal scores have equal ranks. ``imitated``: its ``lm_loss_mask`` is 1."""

    text: str
    rank: int
    imitated: bool


def candidates(last: Mapping[str, Any]) -> list[Candidate]:
    """Return the candidates of a valid sample's last message, in its order; ``chosen`` before ``rejected``. Pure."""
    if not isinstance(last.get("content"), list):
        return [Candidate(last["chosen"], 0, imitated=False), Candidate(last["rejected"], 1, imitated=False)]
    scores = sorted({candidate["score"] for candidate in last["content"]}, reverse=True)
    return [
        Candidate(each["text"], scores.index(each["score"]), imitated=each.get("lm_loss_mask") == 1)
        for each in last["content"]
    ]


def extremes(found: Sequence[Candidate]) -> tuple[int, int]:
    """Return the places of the best and the worst candidate; the first of several that are equally good or bad."""
    ranks = [candidate.rank for candidate in found]
    return ranks.index(min(ranks)), ranks.index(max(ranks))
