"""From a record to acknowledged follow-ons: nothing is finished before, and nothing is lost between."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from aiokafka.errors import MessageSizeTooLargeError
from structlog.testing import capture_logs

from contracts.codec import Poison
from contracts.envelope import Event
from handlers.errors import Transient, Unavailable
from handlers.outcome import Outcome
from handlers.redelivery import Retry
from handlers.table import Stage
from tests.fakes.clock import ManualClock
from tests.fakes.delivery import FakePublisher, command_record, items_of, poison_record, progress_record
from tests.fakes.events import event
from worker.delivery.dead_letters import reason_of
from worker.delivery.item import Item
from worker.delivery.log_context import merge_record
from worker.delivery.offsets import PartitionProgress
from worker.delivery.processing import Processor

RETRY = Retry(transient_tries=4, bug_tries=3, first_delay=0.1, longest_delay=7.0, later=())
SAID = event("task.command", {"command_id": "follow-on", "task_id": "t", "command": "stop"})

Fail = Callable[[Event[Any]], Exception | None]


class Story:
    """A processor over a handler that a test makes fail, with what it was handed."""

    def __init__(self, fail: Fail = lambda _: None, *, folds: bool = False) -> None:
        self.publisher = FakePublisher()
        self.fail = fail
        self.handled: list[list[int]] = []
        self.progress = PartitionProgress()
        stage = Stage("tested", ("task.command",), self._handle, (), folds=folds, retry=RETRY)
        self.process = Processor(stage, self._handle, self.publisher, ManualClock())

    async def _handle(self, given: Any) -> Outcome:
        events = given if isinstance(given, list) else [given]
        self.handled.append([_number(each) for each in events])
        await asyncio.sleep(0)
        for each in events:
            if error := self.fail(each):
                raise error
        self.publisher.log.append("handled")
        return Outcome(name="done", events=(SAID,))

    def take(self, *records: Any) -> list[Item]:
        return items_of(records, self.progress)

    @property
    def letters(self) -> list[dict[str, Any]]:
        return [reason_of(message[3]) for message in self.publisher.messages]

    async def until_done(self, items: list[Item], most: int = 50) -> int:
        """Try again as lanes do, without the delays; return how many tries it took."""
        for tries in range(1, most):
            if await self.process(items) is None:
                return tries
        raise AssertionError(f"still not done after {most} tries")


def _number(event: Event[Any]) -> int:
    return int(event.data.seq if event.topic == "training.progress" else event.data.command_id.split("-")[1])


def _always(error: Exception) -> Fail:
    return lambda _: error


async def test_it_handles_then_publishes_then_finishes() -> None:
    story = Story()
    items = story.take(command_record(7))
    assert await story.process(items) is None
    assert story.publisher.log == ["handled", "publish"]
    assert story.publisher.events == [SAID]
    assert story.progress.position == 8


async def test_nothing_is_finished_before_the_acknowledgement() -> None:
    story = Story()
    story.publisher.failures = [Unavailable("no acknowledgement")]
    items = story.take(command_record(7))
    delay = await story.process(items)
    assert delay is not None
    assert 0.05 <= delay <= 0.1
    assert story.progress.position == 7
    assert await story.process(items) is None
    assert story.handled == [[7], [7]]
    assert story.progress.position == 8


async def test_poison_becomes_a_dead_letter_at_once() -> None:
    story = Story()
    items = story.take(poison_record(7))
    assert await story.process(items) is None
    assert story.handled == []
    assert [letter["reason"] for letter in story.letters] == ["invalid-json"]
    assert story.letters[0]["attempts"] == "1"
    assert story.progress.position == 8


@pytest.mark.parametrize(("key", "shown"), [(b"task-1", "task-1"), (b"\xff" * 200, "\\xff" * 25 + "..."), (None, None)])
async def test_the_log_says_why_a_record_is_a_dead_letter_and_under_which_key(
    key: bytes | None, shown: str | None
) -> None:
    story = Story()
    with capture_logs([merge_record]) as logs:
        await story.process(story.take(poison_record(7, key=key)))
    (said,) = [line for line in logs if line["event"] == "event.dead_lettered"]
    assert (said["reason"], said["key"], said["offset"]) == ("invalid-json", shown, 7)
    assert said["error"] == story.letters[0]["text"]


@pytest.mark.parametrize(
    ("error", "tries", "reason"),
    [
        (KeyError("a bug"), 3, "bug"),
        (Transient("contention"), 4, "transient-fault"),
        (Poison("invalid-batch", "said by a handler"), 1, "invalid-batch"),
        (MessageSizeTooLargeError(), 3, "bug"),
    ],
)
async def test_what_keeps_failing_becomes_a_dead_letter(error: Exception, tries: int, reason: str) -> None:
    story = Story(_always(error))
    items = story.take(command_record(7))
    assert await story.until_done(items) == tries
    assert [(letter["reason"], letter["attempts"]) for letter in story.letters] == [(reason, str(tries))]
    assert story.progress.position == 8
    assert story.publisher.events == []


async def test_what_the_service_stands_on_is_waited_for_without_end() -> None:
    story = Story(_always(Unavailable("the bucket does not answer")))
    items = story.take(command_record(7))
    delays = [await story.process(items) for _ in range(200)]
    assert all(delay is not None and delay <= RETRY.longest_delay for delay in delays)
    assert story.letters == []
    assert story.progress.position == 7
    story.fail = lambda _: None
    assert await story.process(items) is None
    assert story.progress.position == 8


async def test_an_outage_does_not_use_up_the_patience_with_what_comes_after_it() -> None:
    story = Story(_always(Unavailable("down")))
    items = story.take(command_record(7))
    for _ in range(100):
        await story.process(items)
    # Everybody comes back at once: of course they get in each other's way.
    story.fail = _always(Transient("contention"))
    for _ in range(RETRY.transient_tries - 1):
        assert await story.process(items) is not None
    story.fail = lambda _: None
    assert await story.process(items) is None
    assert story.letters == []


async def test_a_record_whose_dead_letter_is_not_acknowledged_is_not_finished() -> None:
    story = Story()
    items = story.take(poison_record(7))
    story.publisher.failures = [Unavailable("no acknowledgement"), RuntimeError("nobody expected this")]
    assert await story.process(items) == RETRY.longest_delay
    assert await story.process(items) == RETRY.longest_delay
    assert story.progress.position == 7
    assert await story.process(items) is None
    assert story.progress.position == 8
    assert len(story.letters) == 1


async def test_a_dead_letter_that_is_too_large_goes_without_its_body() -> None:
    story = Story()
    story.publisher.failures = [MessageSizeTooLargeError()]
    assert await story.process(story.take(poison_record(7))) is None
    assert story.publisher.messages[0][2] == b""
    assert story.letters[0]["body_left_out"] == "8 bytes"
    assert story.progress.position == 8


async def test_after_a_revoke_nothing_is_begun() -> None:
    story = Story()
    items = story.take(command_record(7))
    story.progress.revoked = True
    assert await story.process(items) is None
    assert story.handled == []
    assert story.progress.position == 7


async def test_a_run_is_folded_in_one_go() -> None:
    story = Story(folds=True)
    assert await story.process(story.take(*(progress_record(seq) for seq in range(5)))) is None
    assert story.handled == [[0, 1, 2, 3, 4]]
    assert len(story.publisher.events) == 1
    assert story.progress.position == 5


async def test_one_bad_event_of_a_run_does_not_take_the_others_with_it() -> None:
    story = Story(lambda event: KeyError("bug") if event.data.seq == 2 else None, folds=True)
    await story.until_done(story.take(*(progress_record(seq) for seq in range(5))))
    assert [letter["offset"] for letter in story.letters] == ["2"]
    assert {seq for run in story.handled for seq in run if len(run) == 1} == {0, 1, 2, 3, 4}
    assert story.progress.position == 5
    assert story.progress.unfinished == 0


async def test_an_outage_in_the_middle_of_a_run_repeats_only_what_is_not_finished() -> None:
    story = Story(lambda event: KeyError("bug") if event.data.seq == 1 else None, folds=True)
    items = story.take(*(progress_record(seq) for seq in range(3)))
    for _ in range(RETRY.bug_tries - 1):
        assert await story.process(items) is not None

    def down_after_the_first(event: Event[Any]) -> Exception | None:
        return None if event.data.seq == 0 else Unavailable("down")

    bug = story.fail
    story.fail = lambda event: KeyError("bug") if len(story.handled[-1]) > 1 else down_after_the_first(event)
    assert await story.process(items) is not None
    assert story.progress.position == 1
    story.fail = bug
    story.handled.clear()
    await story.until_done(items)
    assert 0 not in {seq for run in story.handled for seq in run}
    assert [letter["offset"] for letter in story.letters] == ["1"]
    assert (story.progress.position, story.progress.unfinished) == (3, 0)


async def test_finishing_twice_counts_once() -> None:
    progress = PartitionProgress()
    first, second = items_of([command_record(0), command_record(1)], progress)
    first.finish()
    first.finish()
    assert (progress.position, progress.unfinished) == (1, 1)
    second.finish()
    assert (progress.position, progress.unfinished) == (2, 0)


def test_a_decoder_s_bug_is_the_record_s_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    def breaks(*_: Any) -> None:
        raise OverflowError("nobody thought of this")

    monkeypatch.setattr("worker.delivery.item.decode", breaks)
    item = items_of([command_record(0)])[0]
    assert item.poison is not None
    assert item.poison.reason == "decoder-failed"
