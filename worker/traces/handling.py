"""Spans of handled events: one a stage and try, named and described as OpenTelemetry's conventions for messaging say.

https://opentelemetry.io/docs/specs/semconv/messaging/kafka/
"""

from collections.abc import Sequence
from typing import Any

from msgspec.structs import replace
from opentelemetry.trace import Span, SpanKind, Status, StatusCode, Tracer
from opentelemetry.util.types import AttributeValue

from contracts.envelope import Event
from contracts.spelling import clip
from handlers.outcome import Outcome
from worker.delivery.item import Item
from worker.metrics.counts import ReceiptResult
from worker.traces import current
from worker.traces.context import context_of, link_to, traceparent_of

#: Characters of an error's text, as in a log line.
_LONGEST_TEXT = 300
#: Of several receipts of one try the span says the one that tells most.
_TELLS: tuple[ReceiptResult, ...] = ("found", "lost", "made")


class Handling:
    """The span of one try. See worker/delivery/spans.py; for one asyncio task, in which it begins and ends."""

    def __init__(self, span: Span, *, knows_project: bool) -> None:
        place = span.get_span_context()
        self.traceparent = traceparent_of(place)
        self.trace_id, self.span_id = f"{place.trace_id:032x}", f"{place.span_id:016x}"
        self._span = span
        self._knows_project = knows_project
        self._receipt: ReceiptResult | None = None
        self._token = current.enter(self)

    def carried(self, events: Sequence[Event[Any]]) -> list[Event[Any]]:
        """See Span."""
        return [replace(event, traceparent=self.traceparent) for event in events]

    def receipt(self, result: ReceiptResult) -> None:
        """Note what became of asking for a receipt."""
        if self._receipt is None or _TELLS.index(result) > _TELLS.index(self._receipt):
            self._receipt = result
            self._span.set_attribute("finetune.receipt", result)

    def handled(self, outcome: Outcome) -> None:
        """See Span. Links to the events that the result also follows from."""
        self._span.set_attribute("finetune.outcome", outcome.name)
        if not self._knows_project and (project := _project(outcome)):
            self._span.set_attribute("finetune.project", project)
        for traceparent in dict.fromkeys(outcome.links):
            if link := link_to(traceparent):
                self._span.add_link(link.context)

    def failed(self, error: Exception) -> None:
        """See Span."""
        self.put_away("retried")
        self._span.set_attribute("error.type", type(error).__qualname__)
        self._span.set_status(Status(StatusCode.ERROR, clip(str(error) or repr(error), _LONGEST_TEXT)))

    def put_away(self, outcome: str) -> None:
        """See Span."""
        self._span.set_attribute("finetune.outcome", outcome)

    def end(self) -> None:
        """See Span."""
        current.leave(self._token)
        self._span.end()


class StageSpans:
    """Begins the spans of one stage. See Spans."""

    def __init__(self, tracer: Tracer, stage: str, group: str) -> None:
        self._tracer = tracer
        self._always: dict[str, AttributeValue] = {
            "messaging.system": "kafka",
            "messaging.operation.name": "process",
            "messaging.operation.type": "process",
            "messaging.consumer.group.name": group,
            "finetune.stage": stage,
        }

    def begin(self, items: Sequence[Item]) -> Handling:
        """See Spans. Child of the event; of a run that is folded, of its newest, which causes what is said."""
        newest = items[-1]
        parent = _traceparent(newest)
        others = dict.fromkeys(_traceparent(item) for item in items[:-1])
        links = [link for other in others if other != parent and (link := link_to(other))]
        about = self._always | _of(newest)
        if len(items) > 1:
            about["messaging.batch.message_count"] = len(items)
        name = f"process {newest.source.topic}"
        span = self._tracer.start_span(name, context_of(parent), SpanKind.CONSUMER, about, links)
        return Handling(span, knows_project="finetune.project" in about)


def _traceparent(item: Item) -> str | None:
    """Return an item's place in a trace; of one that could not be decoded, as far as its headers say it."""
    if item.event:
        return item.event.traceparent
    said = dict(item.record.headers).get("traceparent")
    return said.decode(errors="replace") if said else None


def _of(item: Item) -> dict[str, AttributeValue]:
    """Return what a span says of a record. One of a delay topic is still the record of its own topic."""
    source, event = item.source, item.event
    about: dict[str, AttributeValue] = {
        "messaging.destination.name": source.topic,
        "messaging.destination.partition.id": str(source.partition),
        "messaging.kafka.offset": source.offset,
        "finetune.try": item.attempts,
    }
    if event:
        about |= {"messaging.message.id": event.id, "messaging.kafka.message.key": event.key}
        for name in ("task_id", "dataset_id", "project"):
            if isinstance(value := getattr(event.data, name, None), str):
                about[f"finetune.{name}"] = value
    return about


def _project(outcome: Outcome) -> str | None:
    """Return whose what was said is: of a form, which is read by its handler, that is the first to say it."""
    said = (getattr(event.data, "project", None) for event in outcome.events)
    return next((project for project in said if isinstance(project, str)), None)
