"""Spans that go nowhere: the real way out, with OpenTelemetry's own exporter into memory at its end."""

from collections.abc import Sequence

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanContext, StatusCode

from worker.traces.exporting import Exporting

#: What a platform says that keeps its traces, and one that does not keep this one.
KEPT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
NOT_KEPT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00"


class Spans:
    """Spans of the stage ``tested``, read once they have ended."""

    def __init__(self) -> None:
        self._memory = InMemorySpanExporter()
        self.exporting = Exporting(self._memory, "tests")
        self.stage = self.exporting.stage("tested", "group.tested")

    def ended(self) -> Sequence[ReadableSpan]:
        """Return all that ended, in that order. Nothing is kept of what ends later."""
        self.exporting.close(10)
        return self._memory.get_finished_spans()


def place(span: ReadableSpan) -> str:
    """Return a span's place, as ``traceparent`` says it."""
    assert span.context is not None
    return as_traceparent(span.context)


def parent(span: ReadableSpan) -> str | None:
    """Return the place of a span's parent."""
    return as_traceparent(span.parent) if span.parent else None


def as_traceparent(context: SpanContext) -> str:
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"


def failed(span: ReadableSpan) -> bool:
    """Return whether a span says that it failed."""
    return span.status.status_code is StatusCode.ERROR
