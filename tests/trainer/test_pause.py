"""Pause and resume with the real trainer and the real handlers: the same weights as if nothing had happened."""

import asyncio
import threading
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import pytest

from contracts.envelope import Event
from contracts.task import Phase
from contracts.training import TrainingProgress
from handlers import attempts, layout, task_state
from handlers.model_export import export_models
from handlers.ports.executors import Choice
from handlers.ports.jobs import Resources
from handlers.settlement import Trained
from handlers.table import STAGES
from handlers.task_command import obey_command
from handlers.task_state import TaskState
from handlers.tenancy.projects import Projects
from handlers.training_progress import keep_progress
from tests.fakes.clock import ManualClock
from tests.fakes.delivery import FakePublisher
from tests.fakes.executor import FakeExecutor
from tests.fakes.executors import FakeExecutors
from tests.fakes.swept import SETTINGS
from tests.fakes.world import command_event, received
from tests.trainer.bench import TASK, Bench, RecordingSink, losses, same
from worker.delivery.receipts import BucketReceipts
from worker.sweeps.reconciler import Reconciler
from worker.trainer.job import Ending

pytestmark = [
    pytest.mark.trainer,
    # peft asks transformers under a name that the next major version drops.
    pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning"),
]


class SignallingExecutor(FakeExecutor):
    """Runs nothing, but a cancel reaches the job that the test runs, as a SIGTERM would."""

    def __init__(self) -> None:
        super().__init__()
        self.signalled = threading.Event()
        self.exit_on_cancel = None

    async def cancel(self, job_id: str, attempt: int, grace_seconds: float) -> None:
        await super().cancel(job_id, attempt, grace_seconds)
        self.signalled.set()


class Service:
    """The service's own handlers and reconciler, over a bench's bucket."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.executor = SignallingExecutor()
        self._clock = ManualClock()
        self._receipts = BucketReceipts(bench.store, self._clock, {stage.name: stage.version for stage in STAGES})
        executors = FakeExecutors(self.executor)
        self._executors = executors
        self._reconciler = Reconciler(bench.store, executors, Projects(), FakePublisher(), self._clock, SETTINGS)

    def begin(self) -> None:
        """Begin the task's first attempt, as its dispatch does."""
        state = attempts.begun(TaskState(task_id=TASK), Choice("local", Resources()), reason="dispatched")
        self._run(task_state.change(self.bench.store, self._clock, TASK, lambda _: state))
        self._run(self.bench.store.put(layout.active(TASK), b""))
        self.sweep()

    def command(self, name: str) -> None:
        """Give a user's order."""
        event = command_event(name, TASK)
        self._run(
            obey_command(
                event, store=self.bench.store, executors=self._executors, receipts=self._receipts, clock=self._clock,
                cancel_grace_seconds=30.0, projects=Projects(),
            )
        )  # fmt: skip

    def hear(self, sink: RecordingSink) -> TaskState:
        """Fold what a job said into the state; return that."""
        self._run(keep_progress([received(event) for event in sink.events], store=self.bench.store, clock=self._clock))
        return self.state()

    def export(self) -> TaskState:
        """Export the models of a task that completes; return its state."""
        state = self.state()
        (said,) = task_state.said(state, command_event("export", TASK), "a-stage")
        event: Event[Any] = received(said)
        self._run(export_models(event, store=self.bench.store, receipts=self._receipts, clock=self._clock))
        return self.state()

    def sweep(self) -> None:
        """Let the reconciler look once."""
        self._run(self._reconciler.sweep())

    def state(self) -> TaskState:
        state: TaskState | None = self._run(task_state.read(self.bench.store, TASK))
        assert state is not None
        return state

    def _run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run(work)


@pytest.fixture
def bench(bucket_root: Path) -> Bench:
    return Bench(bucket_root)


@pytest.mark.parametrize(
    ("method", "chosen", "step"),
    [
        pytest.param("LoRA", {"lora_dropout": 0.2}, 1, id="adapter-with-dropout-mid-epoch"),
        pytest.param("full", {}, 2, id="full-at-the-end-of-an-epoch"),
    ],
)
def test_a_task_that_was_paused_and_resumed_ends_with_the_same_weights(
    bench: Bench, method: Any, chosen: dict[str, Any], step: int
) -> None:
    bench.plan(method, hyperparameters=chosen)
    bench.state(9)
    _, whole = bench.run(bench.spec(9))
    (bench.root / layout.task(TASK, "state")).unlink()
    service = Service(bench)
    service.begin()

    def pause(said: TrainingProgress) -> None:
        if said.progress and said.progress.step == step:
            service.command("pause")

    ending, first = bench.run(service.executor.submits[-1], pause, service.executor.signalled)
    assert ending is Ending.DONE
    assert service.state().desired == "pause", "written down before the signal was sent"
    paused = service.hear(first)
    assert (paused.phase, paused.attempt) == (Phase.PAUSED, 1)
    assert paused.checkpoint is not None
    assert paused.checkpoint.step == step + 1

    service.command("resume")
    service.executor.end(TASK, 1, 0)
    service.sweep()
    spec = service.executor.submits[-1]
    assert (spec.attempt, spec.resume_from) == (2, bench.store.key(paused.checkpoint.uri))
    ending, second = bench.run(spec)
    assert ending is Ending.DONE
    done = service.hear(second)
    assert (done.phase, done.promoted, done.retry_count) == (Phase.COMPLETING, 2, 0)
    assert losses(first) + losses(second) == losses(whole)
    assert whole.last.progress is not None
    assert done.trained == Trained(steps=6, tokens=whole.last.progress.trained_tokens or 0)
    assert same(bench.tensors(done.outputs[0].uri), bench.tensors(whole.last.outputs[0].uri))
    assert service.export().phase is Phase.COMPLETED


def test_a_second_process_of_an_attempt_ends_without_a_word_and_the_first_one_counts(bench: Bench) -> None:
    bench.plan()
    bench.state()
    copies: list[tuple[Ending, RecordingSink]] = []

    def start_a_copy(said: TrainingProgress) -> None:
        if said.progress and said.progress.step == 2 and not copies:
            claimed = (bench.root / layout.runner(TASK, 1)).read_bytes()
            copies.append(bench.copy())
            assert (bench.root / layout.runner(TASK, 1)).read_bytes() == claimed

    ending, sink = bench.run(on_event=start_a_copy)

    assert ending is Ending.DONE
    assert sink.last.state == "succeeded"
    ((ended, copy),) = copies
    assert ended is Ending.SUPERSEDED
    assert copy.events == []
