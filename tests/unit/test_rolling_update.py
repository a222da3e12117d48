"""An old and a new release side by side, as during a rolling update: one bucket, one engine, the same events.

The new one's pure stages have a higher version, and whatever it says or writes has a field more, which is all that a
contract may change by without a new version. Which of the two gets an event, and which gets it again, is drawn.
"""

import random
from typing import Any

import msgspec
import pytest

from contracts.codec import decode, encode
from contracts.envelope import Event
from contracts.task import Phase
from handlers import layout, task_state
from handlers.table import STAGES, Stage
from tests.fakes.events import event
from tests.fakes.executors import FakeExecutors
from tests.fakes.store import MemoryStore
from tests.fakes.world import World, form, form_event
from worker.delivery.receipts import BucketReceipts

LATER = "added_by_a_later_release"


def with_a_field_more(body: bytes) -> bytes:
    """Return a JSON object with a field that this release does not know; anything else as it is."""
    try:
        found = msgspec.json.decode(body)
    except msgspec.DecodeError:
        return body
    return msgspec.json.encode(found | {LATER: {"since": "1.1"}}) if isinstance(found, dict) else body


class LaterStore(MemoryStore):
    """A bucket as a later release writes it."""

    async def put(self, key: str, body: bytes, *, if_none_match: bool = False, if_match: str | None = None) -> str:
        written = with_a_field_more(body) if key.endswith(".json") else body
        return await super().put(key, written, if_none_match=if_none_match, if_match=if_match)


class Both:
    """Two releases of one deployment. ``said``: every event, as it lies on the topics."""

    def __init__(self, seed: int) -> None:
        self.old = World()
        store = LaterStore()
        store.objects = self.old.store.objects
        self.new = World(store)
        self.new.ports["executors"] = FakeExecutors(self.old.executor)
        versions = {stage.name: stage.version + (stage.version > 0) for stage in STAGES}
        self.new.ports["receipts"] = BucketReceipts(store, self.new.clock, versions)
        self.said: list[Event[Any]] = []
        self._chance = random.Random(seed)  # noqa: S311 - which worker gets what, again for the same seed

    async def run(self, *events: Event[Any]) -> None:
        """Deliver events to all stages, and what these say, each to one release and then again to the other."""
        waiting = list(events)
        while waiting:
            current = waiting.pop(0)
            for stage in STAGES:
                if current.topic in stage.topics:
                    waiting += await self._deliver(stage, current)

    async def _deliver(self, stage: Stage, current: Event[Any]) -> list[Event[Any]]:
        first = self._chance.sample([self.old, self.new], 2)
        heard: list[Event[Any]] = []
        # A worker ends before it commits, so the other release gets the same event again; or it does not.
        for world in first[: self._chance.randint(1, 2)]:
            for each in (await world.deliver(stage.name, current)).events:
                key, body, headers = encode(each)
                heard.append(decode(each.topic, key, with_a_field_more(body) if world is self.new else body, headers))
        known = {each.id for each in self.said}
        self.said += heard
        return [each for each in heard if each.id not in known]

    def bodies(self, topic: str) -> list[Any]:
        return [each.data for each in self.said if each.topic == topic]


@pytest.mark.parametrize("seed", range(25))
async def test_a_task_is_trained_once_and_its_model_exported_once(seed: int) -> None:
    both = Both(seed)
    await both.run(await both.old.import_dataset("d-1", b"{}\n", draft=form()), form_event())
    outputs = [await both.old.leave_output()]
    steps: list[dict[str, Any]] = [
        {"state": "running", "step": 5, "total_steps": 10},
        {"state": "succeeded", "outputs": outputs},
    ]
    for seq, step in enumerate(steps, 1):
        await both.run(event("training.progress", {"task_id": "t-1", "attempt": 1, "seq": seq} | step))

    assert len(both.old.submitted) == 1
    state = await task_state.read(both.old.store, "t-1")
    assert state is not None
    assert (state.phase, state.attempt, state.retry_count) == (Phase.COMPLETED, 1, 0)
    [model] = {each.model_id for each in both.bodies("model.exported")}
    assert layout.model(model) + "manifest.json" in both.old.store.objects
    # The verdict may be said by both, under the version of each: it is the same.
    assert len({each.samples for each in both.bodies("dataset.validated")}) == 1
    assert len({each.quote.amount for each in both.bodies("cost.estimated") if each.quote.complete}) == 1
    assert [each.phase for each in both.bodies("task.status")].count(Phase.FAILED) == 0


async def test_what_is_recorded_before_the_update_is_said_again_after_it() -> None:
    both = Both(seed=0)
    imported = await both.old.import_dataset("d-1", b"{}\n")
    before = await both.old.deliver("dataset-validation", imported)
    after = await both.new.deliver("dataset-validation", imported)
    assert [each.id for each in after.events] == [each.id for each in before.events]


async def test_a_field_of_a_task_s_state_is_lost_where_the_old_release_writes_after_the_new_one() -> None:
    # Why a field that must not be lost comes in two releases: docs/UPGRADING.md.
    both = Both(seed=0)
    await both.new.dispatched()
    key = layout.task("t-1", "state")
    assert LATER in msgspec.json.decode(both.old.store.objects[key])
    await both.old.progress("running", 1)
    assert LATER not in msgspec.json.decode(both.old.store.objects[key])
