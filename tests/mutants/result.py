"""From outcomes to the verdict: who survived without an explanation, and which explanation is out of date."""

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from tests.mutants.equivalent import EQUIVALENT
from tests.mutants.trials import Outcome


class Result(NamedTuple):
    """Counts, the survivors nobody explained, and the explanations of mutants that are gone or noticed."""

    mutants: int
    noticed: int
    explained: int
    survivors: list[dict[str, str | int]]
    stale: list[str]


def judge(outcomes: Sequence[Outcome], files: Sequence[str]) -> Result:
    """Judge the outcomes of these files' mutants."""
    unused = Counter(each[:4] for each in EQUIVALENT if each.file in files)
    survivors: list[dict[str, str | int]] = []
    explained = 0
    for mutation, noticed in outcomes:
        if noticed:
            continue
        if unused[mutation.key]:
            unused[mutation.key] -= 1
            explained += 1
        else:
            survivors.append(
                {"line": mutation.line, **dict(zip(("file", "scope", "was", "becomes"), mutation.key, strict=True))}
            )
    stale = [" | ".join(key) for key in unused.elements()]
    noticed_count = len(outcomes) - explained - len(survivors)
    return Result(len(outcomes), noticed_count, explained, survivors, stale)
