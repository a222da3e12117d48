"""What keeps a model from being deleted: a task that trains on it, a model on top of it, or a ref that names it."""

from contracts.form import read_form
from handlers import layout, model_refs, submissions
from handlers.kept_models import KeptModels
from handlers.ports.store import ObjectStore


async def in_use(store: ObjectStore, models: KeptModels) -> set[str]:
    """Return the ids of all models that are used now. Reads the form of each task that has not ended.

    Tasks are looked at before models: one that ends in between has left its models by then. Raises Unavailable.
    """
    used = await _bases_of_tasks(store)
    used |= {base for model in await models.listed() if (base := model.needs)}
    return used | set((await model_refs.all_refs(store)).values())


async def _bases_of_tasks(store: ObjectStore) -> set[str]:
    tasks = [layout.active_task(found.key) async for found in store.list(layout.active_shard())]
    found: set[str] = set()
    for task_id in tasks:
        submission = await submissions.load(store, task_id)
        base = read_form(bytes(submission.form)).draft.base_model if submission else None
        if base and base.custom_model_id:
            found.add(base.custom_model_id)
    return found
