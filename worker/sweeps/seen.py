"""What the reconciler saw of a task, and since when."""

from typing import NamedTuple

from contracts.task import Phase
from handlers.task_state import TaskState


class Seen(NamedTuple):
    """What a task was when it was last looked at, and since when by our own clock."""

    revision: int
    changed: float
    place: tuple[int, Phase, int | None]
    stepped: float
    #: When its job was there last, or could not be asked for.
    there: float
    #: When its place in the queue was said last.
    queued: float | None = None


def seen_now(state: TaskState, before: Seen | None, now: float) -> Seen:
    """Return what is seen of a task now: what is as it was keeps its time. Pure."""
    place = (state.attempt, state.phase, state.progress.step if state.progress else None)
    if before is None:
        return Seen(state.revision, now, place, now, now)
    return Seen(
        revision=state.revision,
        changed=before.changed if before.revision == state.revision else now,
        place=place,
        stepped=before.stepped if before.place == place else now,
        queued=before.queued,
        there=before.there if before.place[0] == state.attempt else now,
    )
