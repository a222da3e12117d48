"""The formats whose samples can be judged. A format is added here, and nowhere else."""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from handlers.validation.problems import Problem
from handlers.validation.rules_sft import check_sft, count_roles


class Rules(NamedTuple):
    """``check`` yields every problem of one object; ``roles`` the role of each message of a valid one."""

    check: Callable[[dict[str, Any]], Iterator[Problem]]
    roles: Callable[[dict[str, Any]], Iterator[str]]


RULES: dict[str, Rules] = {"sft": Rules(check_sft, count_roles)}
