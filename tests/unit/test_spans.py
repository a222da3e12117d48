"""A span a handled event and try: child of what came, parent of what follows, and never in the way."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import structlog
from structlog.testing import capture_logs

from contracts.codec import encode
from contracts.envelope import Event
from contracts.task import TaskCommand
from handlers.errors import Transient, Unavailable
from handlers.outcome import Decision, FollowOn, Outcome
from handlers.redelivery import Retry
from handlers.table import Stage
from tests.fakes.clock import ManualClock
from tests.fakes.delivery import FakePublisher, FakeRecord, command_record, items_of, poison_record, progress_record
from tests.fakes.spans import KEPT, NOT_KEPT, Spans, as_traceparent, failed, parent, place
from tests.fakes.store import MemoryStore
from worker.delivery.processing import Processor
from worker.delivery.receipts import BucketReceipts
from worker.traces.current import merge_span

RETRY = Retry(transient_tries=2, bug_tries=2, later=(60,))
STOP = TaskCommand(command_id="follow-on", task_id="t", command="stop")

Handle = Callable[[Any], Awaitable[Outcome]]


def _traced(record: FakeRecord, traceparent: str | None) -> FakeRecord:
    record.headers = [("traceparent", traceparent.encode())] if traceparent else []
    return record


class Story:
    """A processor with spans, over a handler whose work has a receipt unless a test gives another."""

    def __init__(self, handle: Handle | None = None, *, folds: bool = False) -> None:
        self.spans = Spans()
        self.publisher = FakePublisher()
        self.store, clock = MemoryStore(), ManualClock()
        self._receipts = BucketReceipts(self.store, clock, {"tested": 0})
        handle = handle or self._with_receipt
        stage = Stage("tested", ("task.command",), handle, (), folds=folds, retry=RETRY)
        self.process = Processor(stage, handle, self.publisher, clock, spans=self.spans.stage)

    async def _with_receipt(self, event: Event[Any]) -> Outcome:
        async def work() -> Decision:
            return Decision(name="done", follow_ons=(FollowOn("task.command", "t", STOP),))

        return await self._receipts.once("tested", event.key, event, work)

    async def take(self, *records: FakeRecord) -> float | None:
        return await self.process(items_of(records))


async def test_a_span_says_what_was_handled_where_and_what_came_of_it() -> None:
    story = Story()
    await story.take(_traced(command_record(7, "task-1", partition=3), KEPT))
    (span,) = story.spans.ended()
    assert (span.name, span.kind.name, parent(span)) == ("process task.command", "CONSUMER", KEPT)
    attributes = dict(span.attributes or {})
    event_id = attributes.pop("messaging.message.id")
    assert isinstance(event_id, str)
    assert attributes == {
        "messaging.system": "kafka",
        "messaging.operation.name": "process",
        "messaging.operation.type": "process",
        "messaging.consumer.group.name": "group.tested",
        "messaging.destination.name": "task.command",
        "messaging.destination.partition.id": "3",
        "messaging.kafka.offset": 7,
        "messaging.kafka.message.key": "task-1",
        "finetune.stage": "tested",
        "finetune.try": 1,
        "finetune.task_id": "task-1",
        "finetune.project": "default",
        "finetune.outcome": "done",
        "finetune.receipt": "made",
    }
    assert not failed(span)
    assert span.resource.attributes["service.name"] == "tests"


async def test_what_is_said_is_the_span_s_child_and_said_again_it_is_the_same_to_the_byte() -> None:
    story = Story()
    for _ in range(2):
        await story.take(_traced(command_record(7), KEPT))
    first, second = story.spans.ended()
    assert [span.attributes and span.attributes["finetune.receipt"] for span in (first, second)] == ["made", "found"]
    assert parent(first) == parent(second) == KEPT
    said, again = story.publisher.events
    assert said.traceparent == place(first)
    assert encode(said) == encode(again)


@pytest.mark.parametrize("traceparent", [None, "no traceparent", "00-" + "0" * 32 + "-b7ad6b7169203331-01"])
async def test_where_no_trace_has_begun_one_begins(traceparent: str | None) -> None:
    story = Story()
    await story.take(_traced(command_record(7), traceparent))
    (span,) = story.spans.ended()
    assert span.parent is None
    assert story.publisher.events[0].traceparent == place(span)


async def test_a_trace_that_is_not_kept_stays_one_that_is_not() -> None:
    story = Story()
    await story.take(_traced(command_record(7), NOT_KEPT))
    assert story.spans.ended() == ()
    said = story.publisher.events[0].traceparent
    assert said is not None
    assert said.split("-")[1] == NOT_KEPT.split("-")[1]
    assert said.endswith("-00")


@pytest.mark.parametrize(
    ("error", "outcomes"),
    [
        (KeyError("bug"), ["retried", "dead-lettered"]),
        (Transient("busy"), ["retried", "postponed"]),
        (Unavailable("down"), ["retried", "retried"]),
    ],
)
async def test_each_failed_try_is_an_error_and_says_what_becomes_of_it(error: Exception, outcomes: list[str]) -> None:
    async def fails(_: Event[Any]) -> Outcome:
        raise error

    story = Story(fails)
    (item,) = items_of([_traced(command_record(7), KEPT)])
    for _ in range(2):
        await story.process([item])
    spans = story.spans.ended()
    assert all(map(failed, spans))
    assert [parent(span) for span in spans] == [KEPT, KEPT]
    said = [dict(span.attributes or {}) for span in spans]
    assert [each["finetune.outcome"] for each in said] == outcomes
    assert [each["finetune.try"] for each in said] == [1, 2]
    assert {each["error.type"] for each in said} == {type(error).__name__}


async def test_a_letter_that_is_not_acknowledged_is_not_said_to_be_one() -> None:
    story = Story()
    story.publisher.failures = [Unavailable("down")]
    await story.take(_traced(poison_record(7), KEPT))
    (span,) = story.spans.ended()
    assert (span.attributes or {})["finetune.outcome"] == "retried"


async def test_poison_is_an_error_in_the_trace_that_it_came_in() -> None:
    story = Story()
    assert await story.take(_traced(poison_record(7), KEPT)) is None
    (span,) = story.spans.ended()
    assert failed(span)
    assert parent(span) == KEPT
    assert (span.attributes or {})["finetune.outcome"] == "dead-lettered"
    assert ("traceparent", KEPT.encode()) in story.publisher.messages[0][3]


@pytest.mark.parametrize("header", [b"\xff\xfe", None])
async def test_a_header_that_nobody_can_read_breaks_nothing(header: bytes | None) -> None:
    story = Story()
    record = poison_record(7)
    record.headers = [("traceparent", header)]
    assert await story.take(record) is None
    (span,) = story.spans.ended()
    assert span.parent is None


async def test_a_run_that_is_folded_is_one_span_of_its_newest_event_and_linked_to_the_others() -> None:
    async def folds(events: list[Event[Any]]) -> Outcome:
        return Outcome(name="folded", events=(events[-1],))

    other = KEPT.replace("b7ad", "c8be")
    story = Story(folds, folds=True)
    records = [_traced(progress_record(seq), trace) for seq, trace in enumerate([other, other, None, KEPT, KEPT])]
    await story.take(*records)
    (span,) = story.spans.ended()
    assert parent(span) == KEPT
    assert [as_traceparent(link.context) for link in span.links] == [other]
    assert (span.attributes or {})["messaging.batch.message_count"] == 5
    assert story.publisher.events[0].traceparent == place(span)


async def test_a_span_links_to_what_its_outcome_follows_from_too_once_each() -> None:
    other = KEPT.replace("b7ad", "c8be")

    async def joins(_: Event[Any]) -> Outcome:
        return Outcome(name="joined", links=(other, other, "no traceparent"))

    story = Story(joins)
    await story.take(_traced(command_record(7), KEPT))
    (span,) = story.spans.ended()
    assert [as_traceparent(link.context) for link in span.links] == [other]


async def test_log_lines_of_a_try_name_its_span_and_those_after_it_do_not() -> None:
    async def logs(_: Event[Any]) -> Outcome:
        structlog.get_logger().info("inside")
        return Outcome(name="done")

    story = Story(logs)
    with capture_logs(processors=[merge_span]) as lines:
        await story.take(_traced(command_record(7), KEPT))
        structlog.get_logger().info("outside")
    (span,) = story.spans.ended()
    named = {line["event"]: (line.get("trace_id"), line.get("span_id")) for line in lines}
    assert named["inside"] == named["event.processed"] == tuple(place(span).split("-")[1:3])
    assert named["outside"] == (None, None)


async def test_of_a_form_the_project_is_what_its_handler_read() -> None:
    record = command_record(7)
    record.topic, record.value = "task.created", b'{"task_id": "t-1", "project": "mine"}'
    (said,) = items_of([command_record(8)])

    async def says(_: Event[Any]) -> Outcome:
        assert said.event is not None
        return Outcome(name="read", events=(said.event,))

    story = Story(says)
    await story.take(record)
    (span,) = story.spans.ended()
    attributes = span.attributes or {}
    assert (attributes["finetune.task_id"], attributes["finetune.project"]) == ("t-1", "default")
