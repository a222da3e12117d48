"""Regular expressions: an alternative less, a repetition one more or one fewer."""

import ast
import re
from collections.abc import Iterator
from itertools import pairwise

_COUNT = re.compile(r"(?<=[{,])\d+(?=[,}])")


def broken_patterns(node: ast.Call) -> Iterator[ast.expr]:
    """Yield every call of ``re.compile`` to have in the place of this one, whose pattern is a plain text."""
    given = node.args[0]
    if not isinstance(given, ast.Constant) or not isinstance(given.value, str):
        return
    for pattern in _broken(given.value):
        yield ast.Call(func=node.func, args=[ast.Constant(pattern), *node.args[1:]], keywords=node.keywords)


def _broken(pattern: str) -> Iterator[str]:
    bars = [-1, *_bars(pattern), len(pattern)]
    parts = [pattern[start + 1 : end] for start, end in pairwise(bars)]
    if len(parts) > 1:
        yield from ("|".join([*parts[:index], *parts[index + 1 :]]) for index in range(len(parts)))
    for count in _COUNT.finditer(pattern):
        for other in (int(count[0]) + 1, int(count[0]) - 1):
            yield f"{pattern[: count.start()]}{other}{pattern[count.end() :]}"


def _bars(pattern: str) -> Iterator[int]:
    """Yield where alternatives end that are in no group and no class."""
    depth = position = 0
    while position < len(pattern):
        if pattern[position] == "\\":
            position += 1
        elif pattern[position] in "([":
            depth += 1
        elif pattern[position] in ")]":
            depth -= 1
        elif pattern[position] == "|" and not depth:
            yield position
        position += 1
