"""What logs say of an error: its frames and its text, once, and never the data that was in them."""

import json
import subprocess
import sys

import pytest

_PROGRAM = """
import logging, structlog
from worker.telemetry import configure_logging
configure_logging({form!r}, "info")
for _ in range(3):
    logging.getLogger("client.inner").error("refused by %s", "nobody")
def fails(body):
    raise ValueError("the error's own text")
for log in (structlog.get_logger(), logging.getLogger("client")):
    try:
        fails("planted" + "-secret")
    except ValueError:
        log.exception("story.ended")
"""


_IN_A_SPAN = """
import structlog
from types import SimpleNamespace
from worker.telemetry import configure_logging
from worker.traces import current
configure_logging("json", "info")
token = current.enter(SimpleNamespace(trace_id="the-trace", span_id="the-span"))
structlog.get_logger().info("inside")
current.leave(token)
structlog.get_logger().info("outside")
"""


@pytest.mark.parametrize("endpoint", ["http://collector:4318", ""])
def test_lines_name_their_span_where_spans_are_wanted(endpoint: str) -> None:
    environment = {"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint}
    program = [sys.executable, "-c", _IN_A_SPAN]
    run = subprocess.run(program, capture_output=True, text=True, check=True, env=environment)
    inside, outside = map(json.loads, run.stderr.splitlines())
    named = ("the-trace", "the-span") if endpoint else (None, None)
    assert (inside.get("trace_id"), inside.get("span_id")) == named
    assert {"trace_id", "span_id"}.isdisjoint(outside)


@pytest.mark.parametrize("form", ["json", "console"])
def test_a_traceback_names_its_frames_and_shows_no_data(form: str) -> None:
    program = _PROGRAM.format(form=form)
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert run.stderr.count("the error's own text") == 2
    assert run.stderr.count("fails") >= 2
    assert run.stderr.count("refused by nobody") == 1
    assert "planted-secret" not in run.stderr
    assert "locals" not in run.stderr
    if form == "json":
        events = [json.loads(line)["event"] for line in run.stderr.splitlines()]
        assert events == ["refused by nobody", "story.ended", "story.ended"]
