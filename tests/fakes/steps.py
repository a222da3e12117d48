"""Running coroutines step by step, so that a test decides which of two goes on at each await.

Every fake gives way exactly once a call, by a bare yield, so that one step is one call on the world.
"""

from collections.abc import Coroutine, Iterable, Iterator
from itertools import chain, repeat
from typing import Any, TypeVar

Result = TypeVar("Result")


class Stepped:
    """A coroutine that goes on when it is told to. ``result`` and ``error`` say how it ended."""

    def __init__(self, coroutine: Coroutine[Any, Any, Any]) -> None:
        self._coroutine = coroutine
        self.done = False
        self.result: Any = None
        self.error: Exception | None = None

    def step(self) -> None:
        """Go on to the next await, or to the end. A no-op after the end."""
        if self.done:
            return
        try:
            self._coroutine.send(None)
        except StopIteration as ended:
            self.done, self.result = True, ended.value
        except Exception as error:  # noqa: BLE001 - the test that asked for the step looks at it
            self.done, self.error = True, error


def interleave(*coroutines: Coroutine[Any, Any, Any], order: Iterable[int]) -> list[Any]:
    """Run coroutines to their ends, one step at a time in this order; what is left over takes turns.

    Returns their results; raises the first error one of them ended with.
    """
    stepped = [Stepped(coroutine) for coroutine in coroutines]
    turns: Iterator[int] = chain(order, chain.from_iterable(repeat(range(len(stepped)))))
    while not all(each.done for each in stepped):
        stepped[next(turns)].step()
    for each in stepped:
        if each.error:
            raise each.error
    return [each.result for each in stepped]


def steps_of(coroutine: Coroutine[Any, Any, Any]) -> int:
    """Run a coroutine to its end and return how many steps that took."""
    stepped, steps = Stepped(coroutine), 0
    while not stepped.done:
        stepped.step()
        steps += 1
    if stepped.error:
        raise stepped.error
    return steps


def preempted(steps: int) -> Iterator[list[int]]:
    """Yield every order in which the first of two is interrupted once, for the whole of the second."""
    for before in range(steps + 1):
        yield [0] * before + [1] * 10_000
