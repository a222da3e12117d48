"""Where spans go: OpenTelemetry's SDK with its OTLP exporter, in a thread of its own. A failure costs spans alone."""

import os
import threading
from importlib.metadata import version

import structlog
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.trace import Tracer

from worker.traces import failures
from worker.traces.handling import StageSpans

log = structlog.get_logger()

_PACKAGE = "finetune-worker"


class Exporting:
    """The spans of one process, on their way to whoever collects them.

    What is to be sent waits in memory (2,048 spans where ``OTEL_BSP_MAX_QUEUE_SIZE`` says nothing else), and the oldest
    gives way: neither handlers nor the event loop ever wait for it. Whether a trace is kept its parent says; one that
    begins here is, where ``OTEL_TRACES_SAMPLER`` says nothing else.
    """

    def __init__(self, exporter: SpanExporter, service: str) -> None:
        # Not made the process' own, and not flushed at exit: that would wait for a collector that does not answer.
        self._provider = TracerProvider(resource=_resource(service), shutdown_on_exit=False)
        self._provider.add_span_processor(BatchSpanProcessor(exporter))

    def tracer(self) -> Tracer:
        """Return what begins spans."""
        return self._provider.get_tracer(_PACKAGE, version(_PACKAGE))

    def stage(self, stage: str, group: str) -> StageSpans:
        """Return what begins the spans of a stage, whose consumer group has this name."""
        return StageSpans(self.tracer(), stage, group)

    def close(self, seconds: float) -> None:
        """Send what waits, in so many seconds at most: what is left then is lost. Blocks; never raises."""
        # The SDK waits for 30 s, whatever it is told: in a thread that ends with the process, if not before.
        ending = threading.Thread(target=self._provider.shutdown, daemon=True, name="spans-end")
        ending.start()
        ending.join(max(0.0, seconds))
        if ending.is_alive():
            log.warning("spans.lost", seconds=round(seconds, 1))


def exporting(service: str) -> Exporting:
    """Return the way out for this process' spans, as its ``OTEL_*`` variables describe it. Connects nowhere yet.

    Whether they describe one :func:`worker.traces.switch.check` says, before.
    """
    failures.say_rarely()
    return Exporting(OTLPSpanExporter(), service)


def _resource(service: str) -> Resource:
    """Return who makes these spans: what ``OTEL_SERVICE_NAME`` and ``OTEL_RESOURCE_ATTRIBUTES`` say comes first."""
    ours = Resource.create({"service.name": service, "service.version": version(_PACKAGE), "process.pid": os.getpid()})
    return ours.merge(OTELResourceDetector().detect())
