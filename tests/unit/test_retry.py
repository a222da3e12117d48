"""The decision whether to try again, as a table."""

import pytest

from contracts.codec import Poison
from handlers.errors import OutsideBucket, PreconditionFailed, Transient, Unavailable
from handlers.redelivery import Retry
from worker.delivery.redelivery import GiveUp, Later, Meaning, TryAgain, decide, meaning_of

RETRY = Retry(transient_tries=4, bug_tries=2, later=(60, 600), first_delay=1.0, longest_delay=10.0)
WHOLE = 0.999_999_999
POISON = Poison("breaks-contract", "text")


@pytest.mark.parametrize(
    ("error", "times", "decision"),
    [
        (POISON, 1, GiveUp("breaks-contract")),
        (Transient(), 1, TryAgain(0.5)),
        (Transient(), 2, TryAgain(1.0)),
        (Transient(), 3, TryAgain(2.0)),
        (Transient(), 4, Later(0)),
        (Transient(), 400, Later(0)),
        (Unavailable(), 1, TryAgain(0.5)),
        (Unavailable(), 4, TryAgain(4.0)),
        (Unavailable(), 5, TryAgain(5.0)),
        (Unavailable(), 100_000, TryAgain(5.0)),
        (KeyError("bug"), 1, TryAgain(0.5)),
        (KeyError("bug"), 2, GiveUp("bug")),
        (PreconditionFailed(), 2, GiveUp("bug")),
        (OutsideBucket(), 2, GiveUp("bug")),
        (TimeoutError(), 2, GiveUp("bug")),
    ],
)
def test_what_follows(error: Exception, times: int, decision: TryAgain | Later | GiveUp) -> None:
    assert decide(error, times, RETRY, 0.0) == decision


@pytest.mark.parametrize("times", [1, 2, 3, 10, 1000])
def test_the_delay_lies_between_half_and_the_whole_of_the_backoff(times: int) -> None:
    backoff = min(10.0, 2.0 ** (times - 1))
    for jitter in (0.0, 0.3, WHOLE):
        decision = decide(Unavailable(), times, RETRY, jitter)
        assert isinstance(decision, TryAgain)
        assert backoff / 2 <= decision.delay <= backoff
        assert decision.delay == pytest.approx(backoff * (0.5 + jitter / 2))


def test_what_errors_mean() -> None:
    errors = [POISON, Unavailable(), Transient(), ValueError()]
    assert [meaning_of(error) for error in errors] == list(Meaning)


@pytest.mark.parametrize(("steps", "decision"), [(0, Later(0)), (1, Later(1)), (2, GiveUp("transient-fault"))])
def test_transient_faults_wait_in_one_delay_topic_after_the_other(steps: int, decision: Later | GiveUp) -> None:
    assert decide(Transient(), 4, RETRY, 0.0, steps) == decision


def test_what_is_no_transient_fault_never_waits_in_a_delay_topic() -> None:
    for error in (POISON, Unavailable(), KeyError("bug")):
        assert not isinstance(decide(error, 1000, RETRY, 0.0), Later)
