"""What a task costs the bucket: requests a stage, counted over one whole task in memory. The same on every machine."""

import asyncio
from collections import Counter
from typing import Any

from contracts.envelope import Event
from handlers.outcome import Outcome
from tests.fakes.store import MemoryStore
from tests.fakes.world import World, form_event

#: What S3 prices like a PUT; GET and HEAD cost a twelfth of it, DELETE nothing.
WRITES = frozenset({"put", "list", "copy", "upload"})


class CountingStore(MemoryStore):
    """A bucket that counts what it is asked, by who asks: one request a call, which is so for objects below 8 MiB."""

    def __init__(self) -> None:
        super().__init__()
        self.counted: dict[str, Counter[str]] = {}
        self.asking = "tests"

    def count(self, method: str) -> None:
        self.counted.setdefault(self.asking, Counter())[method] += 1


def _counting(method: str) -> Any:
    real = getattr(MemoryStore, method)

    def counted(self: CountingStore, *arguments: Any, **named: Any) -> Any:
        self.count(method)
        return real(self, *arguments, **named)

    return counted


for _method in ("head", "get", "put", "list", "copy", "delete", "upload", "download"):
    setattr(CountingStore, _method, _counting(_method))


class _CountedWorld(World):
    """A service whose stages are told apart by its bucket."""

    async def deliver(self, stage: str, *events: Event[Any]) -> Outcome:
        assert isinstance(self.store, CountingStore)
        before, self.store.asking = self.store.asking, stage
        try:
            return await super().deliver(stage, *events)
        finally:
            self.store.asking = before


async def _one_task(progress_events: int) -> dict[str, Counter[str]]:
    store = CountingStore()
    world = _CountedWorld(store)
    await world.run(await world.import_dataset("d-1", b"{}\n"), form_event())
    for seq in range(progress_events):
        progress = {"step": seq + 1, "total_steps": progress_events, "loss": 1.0}
        await world.progress("running", seq, progress=progress)
    output = await world.leave_output()
    await world.run(*(await world.progress("succeeded", progress_events, outputs=[output])).events)
    store.counted.pop("tests")
    return store.counted


def requests(progress_events: int = 20) -> dict[str, dict[str, int]]:
    """Return, for each stage, how often a task makes it ask the bucket for what.

    The task has one dataset, trains with so many progress events (each folded alone, the dearest way) and exports one
    model of two files. Reading the dataset's own bytes, and what the trainer reads and writes, is not in it.
    """
    return {stage: dict(counted) for stage, counted in asyncio.run(_one_task(progress_events)).items()}
