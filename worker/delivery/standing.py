"""How a stage stands: idle, working, waiting for due times, stopped, or stuck, and what to do about it. Pure."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

#: Seconds in which a consumer that is told of waiting records has to take some in. Its poll takes 50 ms; a rebalance
#: takes seconds.
TAKING_SECONDS = 60.0


class Look(NamedTuple):
    """What was seen of a stage.

    ``untaken``: records on the broker that are not taken in, of partitions that are not paused; ``held_back``: of those
    that are. ``taken``: records taken in since the start; of these ``unfinished``, and ``in_lanes`` (the rest waits for
    its due time). ``stopped``: the partitions that the limit on bugs has stopped. ``paused``: those whose pause lasts,
    with why.
    """

    untaken: int
    taken: int
    unfinished: int
    in_lanes: int
    stopped: tuple[str, ...] = ()
    held_back: int = 0
    paused: tuple[str, ...] = ()

    def moved_since(self, before: "Look") -> bool:
        """Return whether anything was taken in or finished between two looks."""
        return (self.taken, self.unfinished) != (before.taken, before.unfinished)


class Load(NamedTuple):
    """What a stage has in hand at this moment, as far as it can be told without asking the broker.

    ``waiting``: records that wait for their due time. ``overdue_seconds``: how long the oldest of all could have been
    done, since its due time where it has one, else since it was published; 0 where there is none. ``paused``: how many
    partitions are paused, a reason (pausing.py).
    """

    taken: int
    unfinished: int
    in_lanes: int
    waiting: int
    overdue_seconds: float
    paused: Mapping[str, int] = MappingProxyType({})


class Standing(NamedTuple):
    """A stage's state, and where it is a bad one why and what to do.

    ``helped_by_restart``: it is this process that does not go on, not something that it waits for.
    """

    state: str
    trouble: str | None = None
    helped_by_restart: bool = False


def standing(look: Look, still_seconds: float, stuck_seconds: float) -> Standing:
    """Judge a look. ``still_seconds``: since when nothing has moved; work may last ``stuck_seconds`` without a move."""
    if look.stopped:
        places = ", ".join(look.stopped)
        return Standing("stopped", f"too many bugs in {places}: mend, then worker dead-letters allow")
    if look.untaken and still_seconds >= TAKING_SECONDS:
        text = f"{look.untaken} records wait, and for {still_seconds:.0f} s none was taken in: restart this worker"
        return Standing("stuck", text, helped_by_restart=True)
    if look.in_lanes and still_seconds >= stuck_seconds:
        text = f"{look.in_lanes} records are in work, and for {still_seconds:.0f} s none was finished: see the log"
        return Standing("stuck", text)
    if look.untaken or look.in_lanes:
        return Standing("working")
    return Standing("waiting" if look.unfinished else "idle")
