"""One trace from the platform's event to the exported model: a whole worker, a trainer's process, a real collector."""

import sys
from pathlib import Path

import pytest

from tests.fakes.collector import Collector, Seen
from tests.fakes.executors import FakeExecutors
from tests.integration.conftest import World
from tests.platform import form
from tests.wait import wait_until
from worker.executors.local import LocalExecutor

TRACE = "0af7651916cd43dd8448eb211c80319c"
PLATFORM = "b7ad6b7169203331"
TRACEPARENT = f"00-{TRACE}-{PLATFORM}-01"
#: The real trainer's process and events, with steps that take no torch.
TRAINER = (sys.executable, "-m", "tests.e2e.chaos.stand_in")


@pytest.fixture
def no_spans_of_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever runs this may have a collector of his own."""
    for name in ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_SDK_DISABLED", "OTEL_TRACES_SAMPLER"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.usefixtures("no_spans_of_others")
async def test_a_trace_leads_from_the_platform_s_event_to_the_exported_model(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    collector = Collector()
    executor = LocalExecutor(tmp_path / "jobs", 1, TRAINER, world.settings.to_environment())
    async with collector.serving() as url:
        # The worker is this process; trainers of the executor local have its environment.
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", url)
        monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "100")
        try:
            async with world.worker(executors=FakeExecutors(executor)):
                data = {
                    "dataset_id": "d1",
                    "files": [{"uri": await world.upload("d1")}],
                    "draft": form("t1", "d1"),
                }
                await world.platform.publish("dataset.imported", "d1", data, traceparent=TRACEPARENT)
                await world.platform.wait_for("cost.estimated", "t1")
                await world.platform.publish("task.created", "t1", form("t1", "d1"), traceparent=TRACEPARENT)
                await world.platform.wait_for_phase("t1", "Completed", 60)
                exported = await world.platform.wait_for("model.exported", "t1")
                await wait_until(lambda: _of(collector, name="train"), 60, "the trainer's span")
        finally:
            await executor.kill_all()
            await executor.close()
        # Stopping the worker has sent all that was left.
        (validation,) = _of(collector, stage="dataset-validation")
        (fee,) = _of(collector, stage="cost-estimation")
        (dispatch,) = _of(collector, stage="training-dispatch", outcome="dispatched")
        (run,) = _of(collector, name="train")
        progress = _of(collector, stage="training-progress")
        (export,) = _of(collector, stage="model-export", outcome="exported")
    assert {span.trace_id for span in collector.spans} == {TRACE}
    assert (validation.parent, fee.parent, dispatch.parent) == (PLATFORM, validation.span_id, PLATFORM)
    assert fee.links == (validation.span_id,), "the import that it is of"
    assert (run.parent, run.service, run.outcome) == (dispatch.span_id, "finetune-trainer", "done")
    assert progress
    assert {span.parent for span in progress} == {run.span_id}
    assert export.parent in {span.span_id for span in progress}
    assert exported.traceparent == f"00-{TRACE}-{export.span_id}-01"
    known = {span.span_id for span in collector.spans} | {PLATFORM}
    assert {span.parent for span in collector.spans} <= known, "no span hangs in the air"
    assert {span.service for span in collector.spans if span is not run} == {"finetune-worker"}
    assert all(span.attributes["messaging.system"] == "kafka" for span in collector.spans if span is not run)


def _of(
    collector: Collector, *, name: str | None = None, stage: str | None = None, outcome: str | None = None
) -> list[Seen]:
    """Return the spans with this name, or of this stage and outcome."""
    return [
        span
        for span in collector.spans
        if name in (None, span.name) and stage in (None, span.stage) and outcome in (None, span.outcome)
    ]
