"""What an attempt said that has not been heard: looked for before silence is taken for an answer."""

from typing import NamedTuple

from contracts import event_file
from contracts.codec import Poison
from contracts.envelope import Event
from contracts.training import TrainingProgress
from handlers import layout
from handlers.ports.store import ObjectStore
from handlers.task_state import TaskState


class Unheard(NamedTuple):
    """What the bucket has of the current attempt: events on their way, and a last word that is not folded in."""

    on_their_way: bool = False
    last_word: Event[TrainingProgress] | None = None


async def look(store: ObjectStore, state: TaskState) -> Unheard:
    """Return what the current attempt said that is not in its task's state. One listing, one read."""
    if [info async for info in store.list(layout.outbox(state.task_id, state.attempt))]:
        return Unheard(on_their_way=True)
    stored = await store.get(layout.last_word(state.task_id, state.attempt))
    if stored is None:
        return Unheard()
    try:
        (event,) = event_file.read(stored.body)
    except (Poison, ValueError):
        return Unheard()  # as good as none: its writer cannot be asked any more
    said = event.data
    if not isinstance(said, TrainingProgress) or (said.task_id, said.attempt) != (state.task_id, state.attempt):
        return Unheard()
    return Unheard(last_word=event if said.seq > state.seq else None)
