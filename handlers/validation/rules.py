"""The rules of every format. What else a new format takes: docs/DESIGN.md, "Adding"."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

from contracts.dataset import Format
from handlers.validation.plain import Plain
from handlers.validation.plain_conversations import PREFERENCE, SFT
from handlers.validation.plain_texts import PRETRAIN, RANKING
from handlers.validation.problems import Problem
from handlers.validation.rules_preference import check_preference, count_preference
from handlers.validation.rules_pretrain import check_pretrain
from handlers.validation.rules_ranking import check_ranking, count_ranking
from handlers.validation.rules_sft import check_sft, count_sft
from handlers.validation.statistics import Counted


def _nothing(_: dict[str, Any]) -> Iterable[Counted]:
    return ()


class Rules(NamedTuple):
    """``check`` yields every problem of one object; ``tally`` what is counted of a valid one.

    ``plain`` recognises objects that ``check`` finds nothing in, many at a time; it may miss some, never invent one.
    """

    check: Callable[[dict[str, Any]], Iterator[Problem]]
    plain: Plain
    tally: Callable[[dict[str, Any]], Iterable[Counted]] = _nothing


RULES: dict[Format, Rules] = {
    "sft": Rules(check_sft, SFT, count_sft),
    "preference": Rules(check_preference, PREFERENCE, count_preference),
    "ranking": Rules(check_ranking, RANKING, count_ranking),
    "pretrain": Rules(check_pretrain, PRETRAIN),
}
