"""What a trainer says about itself: one rising sequence of events an attempt."""

from collections.abc import Callable
from datetime import datetime
from typing import Literal, Protocol

from contracts.envelope import Event, derived_id
from contracts.task import Progress
from contracts.training import Checkpoint, Failure, Output, TrainingProgress
from handlers.ports.jobs import JobSpec

TOPIC = "training.progress"

State = Literal["deploying", "running", "succeeded", "failed", "stopped"]
#: Nothing is said after one of these.
ENDED: frozenset[State] = frozenset({"succeeded", "failed", "stopped"})


class ProgressSink(Protocol):
    """Takes events to wherever they are wanted, in order."""

    def put(self, event: Event[TrainingProgress], *, essential: bool) -> None:
        """Take an event; never blocks. One that is not essential may give way to a newer one."""
        ...

    def drop(self) -> None:
        """Forget what has not been sent."""
        ...

    def close(self, timeout_seconds: float) -> bool:
        """Send what is left, inside a bound; return whether all of it was."""
        ...


class Silence:
    """A ProgressSink for processes that have nothing to say: what there is to be said the first process says."""

    def put(self, event: Event[TrainingProgress], *, essential: bool) -> None:
        """Forget an event."""

    def drop(self) -> None:
        """Do nothing."""

    def close(self, timeout_seconds: float) -> bool:
        """Return True: nothing is left."""
        del timeout_seconds
        return True


class Reporter:
    """Says how a job goes. ``seq`` begins where the spec says and rises by one an event.

    Used from one thread.
    """

    def __init__(
        self, spec: JobSpec, sink: ProgressSink, now: Callable[[], datetime], check: Callable[[], None]
    ) -> None:
        """``check`` raises where this attempt may not speak any more; nothing is said then."""
        self._spec, self._sink, self._now, self._check = spec, sink, now, check
        self._seq = spec.first_seq
        self._state: State | None = None
        self._checkpoint: Checkpoint | None = None
        #: The event that says how the job ended, once it was said.
        self.last_word: Event[TrainingProgress] | None = None

    def deploying(self) -> None:
        """Say that the job has begun and loads what it needs."""
        self._say("deploying")

    def running(self, progress: Progress) -> None:
        """Say how far training is. Where events do not get out for long, not all of these are kept."""
        self._say("running", essential=False, progress=progress)

    def saved(self, progress: Progress | None, checkpoint: Checkpoint) -> None:
        """Say that a checkpoint is complete."""
        self._checkpoint = checkpoint
        self._say("running", progress=progress, checkpoint=checkpoint)

    def succeeded(self, progress: Progress | None, outputs: tuple[Output, ...]) -> None:
        """Say that training is done and these outputs are complete."""
        self._say("succeeded", progress=progress, outputs=outputs)

    def failed(self, failure: Failure) -> None:
        """Say why the job ends badly, and where it could go on: whoever hears nothing else knows enough."""
        self._say("failed", failure=failure, checkpoint=self._checkpoint)

    def stopped(self, checkpoint: Checkpoint | None) -> None:
        """Say that the job ended because it was told to, and where it could go on."""
        self._say("stopped", checkpoint=checkpoint)

    def _say(
        self,
        state: State,
        *,
        essential: bool = True,
        progress: Progress | None = None,
        checkpoint: Checkpoint | None = None,
        outputs: tuple[Output, ...] = (),
        failure: Failure | None = None,
    ) -> None:
        self._check()
        spec, seq = self._spec, self._seq
        self._seq += 1
        body = TrainingProgress(
            task_id=spec.task_id,
            attempt=spec.attempt,
            seq=seq,
            state=state,
            progress=progress,
            checkpoint=checkpoint,
            outputs=outputs,
            failure=failure,
            project=spec.project,
        )
        event = Event(
            topic=TOPIC,
            key=spec.task_id,
            id=derived_id("trainer", spec.task_id, spec.attempt, seq),
            type=TOPIC,
            source=f"trainer/{spec.job_id}",
            time=self._now(),
            data=body,
            subject=spec.task_id,
            correlation_id=spec.task_id,
            traceparent=spec.traceparent,
        )
        if state in ENDED:
            self.last_word = event
        new_state, self._state = state != self._state, state
        self._sink.put(event, essential=essential or new_state)
