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
