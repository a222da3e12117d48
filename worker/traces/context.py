"""A span's place as the header ``traceparent`` says it. https://www.w3.org/TR/trace-context/"""

from opentelemetry.context import Context
from opentelemetry.trace import Link, SpanContext, get_current_span
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

_PROPAGATOR = TraceContextTextMapPropagator()


def context_of(traceparent: str | None) -> Context:
    """Return the context that a span with this parent begins in. What is no traceparent is none: a trace begins."""
    # Into an empty context: what this process happens to work in is nobody's parent.
    return _PROPAGATOR.extract({"traceparent": traceparent} if traceparent else {}, Context())


def link_to(traceparent: str | None) -> Link | None:
    """Return a link to a span, or None where this is no traceparent."""
    found = get_current_span(context_of(traceparent)).get_span_context()
    return Link(found) if found.is_valid else None


def traceparent_of(span: SpanContext) -> str:
    """Return what makes whoever is told it a child of a span."""
    return f"00-{span.trace_id:032x}-{span.span_id:016x}-{span.trace_flags:02x}"
