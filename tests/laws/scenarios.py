"""What the laws are tried on: every stage, with every example of every topic it reads. A new stage is in at once."""

from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from contracts.codec import decode
from contracts.envelope import Event
from contracts.form import read_draft
from contracts.quote import CostEstimated
from contracts.task import Phase
from contracts.training import Output
from handlers import compare_and_set, datasets, layout, revisions, task_state
from handlers.datasets import KnownDataset
from handlers.quotes import KeptQuote
from handlers.table import STAGES
from handlers.task_state import TaskState
from tests.examples import EVENTS
from tests.fakes.events import TIMESTAMP_MS
from tests.fakes.world import World, form, plan_of

CASES = [
    pytest.param(stage.name, topic, path.read_bytes(), id=f"{stage.name}:{topic}/{path.stem}")
    for stage in STAGES
    for topic in stage.topics
    for path in sorted((EVENTS / topic).glob("*.json"))
]
every_case = pytest.mark.parametrize(("stage", "topic", "body"), CASES)


def inbound(topic: str, body: bytes, **headers: str) -> Event[Any]:
    """Return the event of a record with this body."""
    sent = [(f"ce_{name}", value.encode()) for name, value in headers.items()]
    return decode(topic, None, body, sent, TIMESTAMP_MS)


async def world_for(event: Event[Any]) -> World:
    """Return a world in which the event finds something to do: its task, its datasets, its plan."""
    world = World()
    task_id = getattr(event.data, "task_id", None)
    if task_id and event.topic != "task.created":
        await _with_task(world, event, task_id)
    if event.topic == "cost.estimated":
        await _asked(world, event)
    dataset_id = getattr(event.data, "dataset_id", None)
    if dataset_id:
        await _known(world, dataset_id)
    if event.topic == "task.created":
        wanted = msgspec.json.decode(event.body).get("training_set") or []
        for entry in wanted:
            await _known(world, entry["dataset_id"])
    return world


async def _with_task(world: World, event: Event[Any], task_id: str) -> None:
    attempt = max(getattr(event.data, "attempt", 1), 1)
    state = TaskState(task_id=task_id, attempt=attempt, phase=Phase.RUNNING)
    if event.topic == "task.status":
        output = await world.leave_output(task_id, attempt)
        outputs = msgspec.convert([output], tuple[Output, ...])
        state = replace(state, phase=Phase.COMPLETING, promoted=attempt, outputs=outputs)
    command = getattr(event.data, "command", None)
    if command == "resume":
        state = replace(state, phase=Phase.PAUSED, desired="pause")
    if command == "delete":
        state = replace(state, phase=Phase.FAILED)
    await task_state.change(world.store, world.clock, task_id, lambda _: state)
    await plan_of(world, task_id)


async def _asked(world: World, event: Event[Any]) -> None:
    """Let the quote be the newest of its task, and be what an import with a draft was answered."""
    said: CostEstimated = event.data
    dataset_id = said.dataset_ids[0]
    await _known(world, dataset_id)
    draft = read_draft(form(said.task_id or "t-1", dataset_id))
    kept = KeptQuote(
        quote=said.quote, task_id=said.task_id, project=said.project, contents={}, draft=draft, dataset_id=dataset_id
    )
    await compare_and_set.first(world.store, layout.quote(said.quote.quote_id), kept)
    came = revisions.Came(world.clock.now(), "draft")
    made = revisions.Made(said.quote.quote_id, said.quote.complete, "asked")
    await revisions.revised(world.store, layout.estimate(said.task_id, dataset_id), came, made)


async def _known(world: World, dataset_id: str) -> None:
    known = KnownDataset(
        dataset_id=dataset_id, project="default", imported_at=world.clock.now(), digest="d", format="sft", files=(),
        samples=3, valid_samples=3, totals={}, findings_key="f",
    )  # fmt: skip
    await datasets.remember(world.store, known)
