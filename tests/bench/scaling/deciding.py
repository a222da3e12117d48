"""What a piece of work costs besides its requests: whole tasks through the real handlers, over a bucket in memory."""

import asyncio

from tests.bench.scaling.model import HANDLINGS
from tests.fakes.world import World, form_event

_DRAFT = {"training_type": "FinetuneLoRA", "base_model": {"foundation": {"name": "tiny", "version": "1"}}}


def decided(count: int) -> int:
    """Bring so many tasks to their end; return how many pieces of work that were, progress not counted."""

    async def run() -> None:
        for number in range(count):
            # A world a task: a listing in memory looks at every object there is.
            world, task_id, dataset_id = World(), f"t-{number}", f"d-{number}"
            draft = _DRAFT | {"task_id": task_id}
            await world.run(await world.import_dataset(dataset_id, b"{}\n", draft=draft))
            await world.run(form_event(task_id, dataset_id))
            output = await world.leave_output(task_id)
            await world.run(*(await world.progress("succeeded", 0, task_id=task_id, outputs=[output])).events)

    asyncio.run(run())
    return count * sum(HANDLINGS.values())
