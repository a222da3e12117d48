"""A collector of traces: takes what is sent to it as OTLP over HTTP, to the letter of the protocol."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

from aiohttp import web
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from tests.fakes.http_server import served


class Seen(NamedTuple):
    """A span as it arrived: ids in hex, ``parent`` empty where it has none."""

    service: str
    name: str
    trace_id: str
    span_id: str
    parent: str
    attributes: dict[str, Any]
    links: tuple[str, ...]

    @property
    def stage(self) -> str | None:
        return self.attributes.get("finetune.stage")

    @property
    def outcome(self) -> str | None:
        return self.attributes.get("finetune.outcome")


class Collector:
    """Every span that arrived, in that order."""

    def __init__(self) -> None:
        self.spans: list[Seen] = []

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[str]:
        """Serve on a free port; yields what ``OTEL_EXPORTER_OTLP_ENDPOINT`` is to be."""
        app = web.Application()
        app.router.add_post("/v1/traces", self._on_traces)
        async with served(app) as url:
            yield url

    async def _on_traces(self, request: web.Request) -> web.Response:
        assert request.content_type == "application/x-protobuf"
        for sent in ExportTraceServiceRequest.FromString(await request.read()).resource_spans:
            service = str(_values(sent.resource.attributes)["service.name"])
            self.spans += [_seen(service, span) for scope in sent.scope_spans for span in scope.spans]
        return web.Response(
            body=ExportTraceServiceResponse().SerializeToString(), content_type="application/x-protobuf"
        )


def _seen(service: str, span: Span) -> Seen:
    return Seen(
        service=service,
        name=span.name,
        trace_id=span.trace_id.hex(),
        span_id=span.span_id.hex(),
        parent=span.parent_span_id.hex(),
        attributes=_values(span.attributes),
        links=tuple(link.span_id.hex() for link in span.links),
    )


def _values(attributes: Any) -> dict[str, Any]:
    pairs: list[KeyValue] = list(attributes)
    return {pair.key: _value(pair.value) for pair in pairs}


def _value(value: AnyValue) -> Any:
    kind = value.WhichOneof("value")
    return getattr(value, kind) if kind else None
