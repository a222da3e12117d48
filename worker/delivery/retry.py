"""Whether to try again: a pure decision on what an error means and how often it happened."""

from typing import NamedTuple

from contracts.codec import Poison
from handlers.errors import Transient, Unavailable
from handlers.table import Retry


class TryAgain(NamedTuple):
    """Try again after this many seconds."""

    delay: float


class GiveUp(NamedTuple):
    """Dead-letter it, for this class of reason."""

    reason: str


def decide(error: BaseException, attempt: int, retry: Retry, jitter: float) -> TryAgain | GiveUp:
    """Return what to do after a handler failed for the ``attempt``-th time (1-based).

    ``jitter`` is a random number in [0, 1): delays are between half and the whole of the backoff, so that a thousand
    lanes do not come back in step. Poison is given up at once; what the whole service stands on is waited for without
    end; anything unknown is a bug and is tried a few times, loudly.
    """
    delay = min(retry.longest_delay, retry.first_delay * 2 ** min(attempt - 1, 30)) * (0.5 + jitter / 2)
    if isinstance(error, Poison):
        return GiveUp(error.reason)
    if isinstance(error, Unavailable):
        return TryAgain(delay)
    if isinstance(error, Transient):
        return TryAgain(delay) if attempt < retry.transient_tries else GiveUp("transient-fault")
    return TryAgain(delay) if attempt < retry.bug_tries else GiveUp("bug")
