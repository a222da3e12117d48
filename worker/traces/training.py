"""The span of a trainer's run: child of the dispatch of its attempt, parent of all that follows from its events.

Imports OpenTelemetry only where spans are wanted and can be sent; everywhere else the trace is passed on as it came.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

import structlog

from handlers.ports.jobs import JobSpec
from worker.settings import SettingsError
from worker.traces.switch import way_out

if TYPE_CHECKING:
    from worker.traces.exporting import Exporting

log = structlog.get_logger()

#: Seconds that the last spans have to get out. No run waits for longer, and none fails for it.
FLUSH_SECONDS = 3.0


class Run(Protocol):
    """A run as a trace shows it. ``spec`` is the job's, whose events say what ``spec.traceparent`` says."""

    spec: JobSpec

    def ended(self, how: str, *, failed: bool) -> None:
        """Note how it ended."""
        ...


class _Unseen:
    """A Run that makes no span."""

    def __init__(self, spec: JobSpec) -> None:
        self.spec = spec

    def ended(self, how: str, *, failed: bool) -> None:
        """See Run."""


@contextmanager
def run_of(spec: JobSpec, *, seen: bool = True) -> Iterator[Run]:
    """Yield a job's run, in whose span the caller works until the end. ``seen``: this process speaks for the job.

    A span is sent when it has ended: that of a run which is killed never is, while its children are.
    """
    traces = _way_out() if seen else None
    if traces is None:
        yield _Unseen(spec)
        return
    from worker.traces.run_span import RunSpan  # noqa: PLC0415 - where no spans are wanted, it need not be there

    try:
        with RunSpan(traces.tracer(), spec) as run:
            yield run
    finally:
        traces.close(FLUSH_SECONDS)


def _way_out() -> "Exporting | None":
    try:
        return way_out("finetune-trainer")
    except SettingsError as error:
        # Hours of a GPU are worth more than a span.
        log.warning("spans.not_possible", error=str(error))
        return None
