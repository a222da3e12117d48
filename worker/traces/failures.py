"""What OpenTelemetry says of itself: that spans do not arrive, at every batch. One line a minute is enough of that."""

import logging
import time

import structlog

from contracts.spelling import clip

log = structlog.get_logger()

_AGAIN_SECONDS = 60.0
_LONGEST_TEXT = 300
#: Says what it cannot read of headers, which is a token.
_OF_HEADERS = "opentelemetry.util.re"


class _OnceAMinute(logging.Handler):
    """Says the first failure at once, and after that one a minute, with how many were not said."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._said_at: float | None = None
        self._unsaid = 0

    def emit(self, record: logging.LogRecord) -> None:
        now = time.monotonic()
        if self._said_at is not None and now - self._said_at < _AGAIN_SECONDS:
            self._unsaid += 1
            return
        log.warning("spans.not_sent", error=clip(_text(record), _LONGEST_TEXT), more=self._unsaid)
        self._said_at, self._unsaid = now, 0


def _text(record: logging.LogRecord) -> str:
    if record.name == _OF_HEADERS:
        return "OTEL_EXPORTER_OTLP_HEADERS has what is not name=value, with commas between them"
    error = record.exc_info[1] if record.exc_info else None
    return record.getMessage() + (f": {error!r}" if error else "")


def say_rarely() -> None:
    """Take over what OpenTelemetry logs in this process. May be called again; the count begins anew then."""
    library = logging.getLogger("opentelemetry")
    library.handlers = [_OnceAMinute()]
    library.propagate = False
