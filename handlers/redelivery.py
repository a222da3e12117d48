"""How often a stage is tried, and how long it waits in between. What an error means, delivery decides."""

from typing import NamedTuple


class Retry(NamedTuple):
    """How often a handler is tried: transient faults with backoff (seconds, doubled up to a cap), bugs fewer times.

    Where transient faults last longer, the event waits in delay topics, one after the other, ``later`` seconds each.
    Without any it never leaves its lane: its order matters.
    """

    transient_tries: int = 10
    bug_tries: int = 3
    first_delay: float = 0.2
    longest_delay: float = 30.0
    later: tuple[float, ...] = (60, 600, 3600)


#: For stages that must see the events of a task in order.
IN_ORDER = Retry(later=())
