"""Steps of cost estimation that several tests take."""

from collections.abc import Callable
from typing import Any

from contracts.envelope import Event
from contracts.quote import CostEstimated
from handlers.ports.tokens import TokenCounts
from tests.fakes.world import World, form, received

LINES = b"{}\n"


class Stub:
    """A counter or a scanner with an answer of the test's: what is asked is ignored."""

    def __init__(self, answer: Callable[..., Any]) -> None:
        self._answer = answer

    async def count(self, files: Any, *_: Any) -> TokenCounts:
        found = self._answer(files)
        assert isinstance(found, TokenCounts)
        return found

    scan = count


def raises(error: Exception) -> Stub:
    def raise_it(_: Any) -> None:
        raise error

    return Stub(raise_it)


async def verdict_on(world: World, dataset_id: str = "d-1", **changes: Any) -> Event[Any]:
    """Import and validate a dataset, with a draft unless the changes say otherwise; return its verdict."""
    imported = await world.import_dataset(dataset_id, LINES, **({"draft": form()} | changes))
    (said,) = (await world.deliver("dataset-validation", imported)).events
    return received(said)


async def estimate(world: World, verdict: Event[Any]) -> CostEstimated:
    outcome = await world.deliver("cost-estimation", verdict)
    (said,) = outcome.events
    estimated = received(said).data
    assert isinstance(estimated, CostEstimated)
    assert outcome.name == ("estimated" if estimated.quote.complete else "incomplete")
    return estimated
