"""Steps of dispatch that several tests take."""

from typing import Any

from contracts.task import Phase
from tests.fakes.world import World, received, statuses

EMPTY_OBJECT = b"{}\n"


async def imported(world: World, *dataset_ids: str) -> list[Any]:
    """Import and validate datasets; return their verdicts."""
    verdicts = []
    for dataset_id in dataset_ids:
        event = await world.import_dataset(dataset_id, EMPTY_OBJECT)
        outcome = await world.deliver("dataset-validation", event)
        verdicts += [received(said) for said in outcome.events]
    return verdicts


async def refusal(world: World, submitted: Any) -> Any:
    said = await world.run(submitted)
    assert world.executor.submits == []
    assert {each.topic for each in said} == {"task.status"}
    status = statuses(said)[-1]
    assert status.phase is Phase.FAILED
    assert status.terminal
    assert not status.resumable
    return status
