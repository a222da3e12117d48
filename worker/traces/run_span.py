"""The span of one attempt's training."""

from types import TracebackType
from typing import Self

from msgspec.structs import replace
from opentelemetry.trace import SpanKind, Status, StatusCode, Tracer
from opentelemetry.util.types import AttributeValue

from handlers.ports.jobs import JobSpec
from worker.metrics.counts import ReceiptResult
from worker.traces import current
from worker.traces.context import context_of, traceparent_of


class RunSpan:
    """A Run (see training.py) with a span, which the task that enters it works in."""

    def __init__(self, tracer: Tracer, spec: JobSpec) -> None:
        about: dict[str, AttributeValue] = {
            "finetune.task_id": spec.task_id,
            "finetune.attempt": spec.attempt,
            "finetune.project": spec.project,
            "finetune.gpus": spec.resources.gpus * spec.resources.nodes,
        }
        self._span = tracer.start_span("train", context_of(spec.traceparent), SpanKind.INTERNAL, about)
        place = self._span.get_span_context()
        self.trace_id, self.span_id = f"{place.trace_id:032x}", f"{place.span_id:016x}"
        self.spec = replace(spec, traceparent=traceparent_of(place))

    def ended(self, how: str, *, failed: bool) -> None:
        """See Run."""
        self._span.set_attribute("finetune.outcome", how)
        if failed:
            self._span.set_status(Status(StatusCode.ERROR, how))

    def receipt(self, result: ReceiptResult) -> None:
        """Do nothing: trainers ask for none."""

    def __enter__(self) -> Self:
        self._token = current.enter(self)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        current.leave(self._token)
        if error is not None:
            self.ended(type(error).__qualname__, failed=True)
        self._span.end()
