"""Spans are an operator's wish: without it nothing is there; with it, what goes wrong is never a worker's matter."""

import asyncio
import logging
import subprocess
import sys
import time
from collections.abc import Sequence
from threading import Event

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from structlog.testing import capture_logs

from handlers.ports.jobs import JobSpec
from tests.fakes.delivery import command_record, items_of
from tests.fakes.spans import KEPT, failed, parent, place
from worker.app import run_worker
from worker.settings import Settings, SettingsError
from worker.traces import failures, switch
from worker.traces.exporting import Exporting, exporting
from worker.traces.training import run_of

ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"
#: Nobody listens there.
NOWHERE = "http://127.0.0.1:9"
SPEC = JobSpec(job_id="t", task_id="t", attempt=2, plan_key="p", attempt_prefix="a/", traceparent=KEPT)

_UNWANTED = """
import sys
import worker.app, worker.commands.run, worker.trainer.__main__
from worker.telemetry import configure_logging
from worker.traces.switch import way_out
configure_logging("json", "info")
assert way_out("tests") is None
print(sorted(name for name in sys.modules if name.startswith(("opentelemetry.sdk", "opentelemetry.trace", "google"))))
"""


def test_where_nobody_wants_spans_nothing_of_opentelemetry_is_imported() -> None:
    run = subprocess.run([sys.executable, "-c", _UNWANTED], capture_output=True, text=True, check=True, env={})
    assert run.stdout == "[]\n"


@pytest.mark.parametrize(
    ("environment", "wanted"),
    [
        ({}, False),
        ({ENDPOINT: ""}, False),
        ({ENDPOINT: NOWHERE}, True),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": NOWHERE}, True),
        ({ENDPOINT: NOWHERE, "OTEL_SDK_DISABLED": "true"}, False),
        ({ENDPOINT: NOWHERE, "OTEL_TRACES_EXPORTER": "none"}, False),
    ],
)
def test_spans_are_wanted_where_somebody_says_where_they_go(environment: dict[str, str], *, wanted: bool) -> None:
    assert switch.wanted(environment) is wanted


async def test_a_worker_that_cannot_send_wanted_spans_says_so_before_anything_else(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(ENDPOINT, NOWHERE)
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)
    with pytest.raises(SettingsError, match=r"pip install 'finetune-worker\[traces\]', or unset the variable"):
        await run_worker(Settings(kafka_bootstrap_servers="127.0.0.1:9"), stopping=asyncio.Event())


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({ENDPOINT: "planted-host:4317"}, f"{ENDPOINT} must be a URL"),
        ({ENDPOINT: "http://somebody:planted@collector:4318"}, "names no user"),
        (
            {ENDPOINT: NOWHERE, "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"},
            "OTEL_EXPORTER_OTLP_PROTOCOL must be http/protobuf",
        ),
    ],
)
def test_what_cannot_be_used_names_its_variable_and_what_can(variables: dict[str, str], words: str) -> None:
    with pytest.raises(SettingsError, match=words) as refused:
        switch.check(variables)
    assert "planted" not in str(refused.value)


def test_what_opentelemetry_itself_refuses_is_a_setting_that_cannot_be_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ENDPOINT, NOWHERE)
    monkeypatch.setenv("OTEL_BSP_MAX_QUEUE_SIZE", "-1")
    with pytest.raises(SettingsError, match="OTEL_ variables: max_queue_size must be a positive integer"):
        switch.way_out("tests")


def test_a_token_that_is_no_header_is_not_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ENDPOINT, NOWHERE)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "Bearer planted")
    with capture_logs() as lines:
        way_out = switch.way_out("tests")
    assert way_out is not None
    way_out.close(1)
    assert [line["error"] for line in lines] == [
        "OTEL_EXPORTER_OTLP_HEADERS has what is not name=value, with commas between them"
    ]


# --- what goes wrong ---------------------------------------------------------------------------------------------


class _Held(SpanExporter):
    """Takes spans until the end of time."""

    def __init__(self) -> None:
        self.let_go = Event()

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        del spans
        self.let_go.wait()
        return SpanExportResult.SUCCESS


def _handle_one(way_out: Exporting) -> None:
    way_out.stage("tested", "group").begin(items_of([command_record(0)])).end()


def test_a_collector_that_does_not_answer_holds_up_neither_handling_nor_the_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OTEL_BSP_MAX_QUEUE_SIZE", "10")
    monkeypatch.setenv("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "5")
    held = _Held()
    way_out = Exporting(held, "tests")
    began = time.monotonic()
    for _ in range(50):  # more than wait in memory
        _handle_one(way_out)
    with capture_logs() as lines:
        way_out.close(0.2)
    assert time.monotonic() - began < 10, "the library would wait for 30 s"
    held.let_go.set()
    assert lines[-1]["event"] == "spans.lost"


def test_no_time_left_is_no_error() -> None:
    held = _Held()
    way_out = Exporting(held, "tests")
    _handle_one(way_out)
    way_out.close(-1.0)
    held.let_go.set()


def test_failures_are_one_line_a_minute_with_how_many_were_not_said(monkeypatch: pytest.MonkeyPatch) -> None:
    failures.say_rarely()
    library = logging.getLogger("opentelemetry.exporter.inner")
    with capture_logs() as lines:
        for number in range(3):
            try:
                raise ConnectionError(f"refused {number}")
            except ConnectionError:
                library.exception("Exception while exporting")
        (line,) = lines
        assert (line["event"], line["log_level"], line["more"]) == ("spans.not_sent", "warning", 0)
        assert line["error"] == "Exception while exporting: ConnectionError('refused 0')"
        monkeypatch.setattr(failures, "_AGAIN_SECONDS", 0.0)
        library.warning("Queue full")
    assert lines[1]["more"] == 2


def test_a_collector_that_is_not_there_is_said_once_and_that_is_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ENDPOINT, NOWHERE)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "1")
    way_out = exporting("tests")
    with capture_logs() as lines:
        _handle_one(way_out)
        way_out.close(10)
    assert [line["event"] for line in lines] == ["spans.not_sent"]


# --- a trainer's run ---------------------------------------------------------------------------------------------


def test_a_trainer_passes_the_trace_on_as_it_came_where_no_spans_are_wanted() -> None:
    with run_of(SPEC) as run:
        assert run.spec == SPEC
        run.ended("done", failed=False)


def test_a_trainer_that_cannot_send_spans_trains_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ENDPOINT, NOWHERE)
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)
    with capture_logs() as lines, run_of(SPEC) as run:
        assert run.spec == SPEC
    assert [line["event"] for line in lines] == ["spans.not_possible"]
    assert "finetune-worker[traces]" in lines[0]["error"]


def test_a_trainer_s_events_follow_from_its_run_which_follows_from_its_dispatch(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    memory = InMemorySpanExporter()
    monkeypatch.setenv(ENDPOINT, NOWHERE)
    monkeypatch.setattr("worker.traces.exporting.OTLPSpanExporter", lambda: memory)
    with run_of(SPEC) as run:
        assert run.spec.job == SPEC.job, "nothing else is another"
        run.ended("failed", failed=True)
    (span,) = memory.get_finished_spans()
    assert (span.name, parent(span), place(span)) == ("train", KEPT, run.spec.traceparent)
    assert failed(span)
    assert dict(span.attributes or {}) == {
        "finetune.task_id": "t",
        "finetune.attempt": 2,
        "finetune.project": "default",
        "finetune.gpus": 0,
        "finetune.outcome": "failed",
    }
    assert span.resource.attributes["service.name"] == "finetune-trainer"


def test_of_several_processes_one_has_the_span(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ENDPOINT, NOWHERE)
    with run_of(SPEC, seen=False) as run:
        assert run.spec == SPEC
