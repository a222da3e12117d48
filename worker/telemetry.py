"""Logs: one JSON object a line on stderr, or coloured lines for people. Where there are spans, lines name theirs."""

import logging
import os
import sys
from time import monotonic

import structlog

from worker.client_logs import quiet_client
from worker.delivery.log_context import merge_record
from worker.traces import switch
from worker.traces.current import merge_span

#: Seconds until a client may say the same again.
_AGAIN_SECONDS = 30.0
_MOST_REMEMBERED = 1000


class _Again(logging.Filter):
    """Drops what a client has just said: until a fresh broker is ready, each tries ten times a second, loudly."""

    def __init__(self) -> None:
        super().__init__()
        self._said: dict[str, float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        text, now = record.getMessage(), monotonic()
        if now - self._said.get(text, -_AGAIN_SECONDS) < _AGAIN_SECONDS:
            return False
        if len(self._said) >= _MOST_REMEMBERED:
            self._said.clear()
        self._said[text] = now
        return True


def configure_logging(log_format: str, level: str) -> None:
    """Set up structlog, and the standard library's logging for the clients we use. May be called twice.

    A traceback is its frames and its error, never the values in the frames: those are users' data.
    """
    number = logging.getLevelNamesMapping()[level.upper()]
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        merge_record,
        *([merge_span] if switch.wanted(os.environ) else []),
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    renderer: structlog.typing.Processor = (
        structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback)
        if log_format == "console"
        else structlog.processors.JSONRenderer()
    )
    tracebacks = structlog.tracebacks.ExceptionDictTransformer(show_locals=False)
    exceptions = [] if log_format == "console" else [structlog.processors.ExceptionRenderer(tracebacks)]
    structlog.configure(
        processors=[*shared, *exceptions, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *exceptions, renderer],
        )
    )
    handler.addFilter(_Again())
    root = logging.getLogger()
    root.handlers = [handler]
    # The clients narrate every heartbeat; what matters of it we say ourselves.
    root.setLevel(max(number, logging.WARNING))
    quiet_client()
