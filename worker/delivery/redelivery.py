"""Whether to try again: a pure decision on what an error means and how often it happened."""

import enum
from typing import NamedTuple, get_args

from contracts.codec import Poison, PoisonReason
from handlers.errors import Transient, Unavailable
from handlers.redelivery import Retry

BUG, TRANSIENT_FAULT = "bug", "transient-fault"
#: Of a letter that is none of ours.
UNKNOWN = "unknown"
#: Why there can be a dead letter.
REASONS = (BUG, TRANSIENT_FAULT, *get_args(PoisonReason), UNKNOWN)


class Meaning(enum.Enum):
    """What an error means to delivery."""

    POISON = enum.auto()
    """It can never be processed."""
    UNAVAILABLE = enum.auto()
    """What the whole service stands on does not answer."""
    TRANSIENT = enum.auto()
    """It may work in a moment."""
    BUG = enum.auto()
    """Anything else."""


class TryAgain(NamedTuple):
    """Try again after this many seconds."""

    delay: float


class Later(NamedTuple):
    """Let it wait in the stage's next delay topic; nothing behind it waits with it."""

    step: int


class GiveUp(NamedTuple):
    """Dead-letter it, for this class of reason."""

    reason: str


def meaning_of(error: BaseException) -> Meaning:
    """Return what an error means."""
    if isinstance(error, Poison):
        return Meaning.POISON
    if isinstance(error, Unavailable):
        return Meaning.UNAVAILABLE
    return Meaning.TRANSIENT if isinstance(error, Transient) else Meaning.BUG


def decide(error: BaseException, times: int, retry: Retry, jitter: float, steps: int = 0) -> TryAgain | Later | GiveUp:
    """Return what to do after a handler failed for the ``times``-th time with an error of this meaning (1-based).

    Each meaning is counted by itself: an hour without the bucket must not use up the patience with what comes after.
    ``jitter`` is a random number in [0, 1): delays are between half and the whole of the backoff, so that a thousand
    lanes do not come back in step. ``steps`` is how many delay topics the event has been through. Poison is given up
    at once; what the whole service stands on is waited for without end; anything unknown is a bug and is tried a few
    times, loudly.
    """
    delay = min(retry.longest_delay, retry.first_delay * 2 ** min(times - 1, 30)) * (0.5 + jitter / 2)
    if isinstance(error, Poison):
        return GiveUp(error.reason)
    meaning = meaning_of(error)
    if meaning is Meaning.UNAVAILABLE:
        return TryAgain(delay)
    if meaning is Meaning.TRANSIENT:
        if times < retry.transient_tries:
            return TryAgain(delay)
        return Later(steps) if steps < len(retry.later) else GiveUp(TRANSIENT_FAULT)
    return TryAgain(delay) if times < retry.bug_tries else GiveUp(BUG)
