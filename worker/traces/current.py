"""The span that this task works in, for those who have something to add or to say of it. Imports no OpenTelemetry."""

from contextvars import ContextVar, Token
from typing import Protocol

import structlog

from worker.metrics.counts import ReceiptResult


class Current(Protocol):
    """A span as the code that runs in it sees it."""

    trace_id: str
    span_id: str

    def receipt(self, result: ReceiptResult) -> None:
        """Note what became of asking for a receipt."""
        ...


_CURRENT: ContextVar[Current | None] = ContextVar("span", default=None)


def enter(span: Current) -> Token[Current | None]:
    """Let this task, and tasks begun in it, work in a span until :func:`leave`."""
    return _CURRENT.set(span)


def leave(token: Token[Current | None]) -> None:
    """Work in what was worked in before."""
    _CURRENT.reset(token)


def note_receipt(result: ReceiptResult) -> None:
    """Note what became of asking for a receipt, where there is a span."""
    if span := _CURRENT.get():
        span.receipt(result)


def merge_span(_: object, __: str, line: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """Add the span to a log line, as OpenTelemetry names it in logs. A structlog processor."""
    if span := _CURRENT.get():
        line.setdefault("trace_id", span.trace_id)
        line.setdefault("span_id", span.span_id)
    return line
