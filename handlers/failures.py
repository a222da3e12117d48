"""The one table of failures: whose matter each is, whether another attempt is worth it, and what a person can do.

What a trainer reports, or its engine shows, becomes an :class:`AttemptEnd` with a reason of this table. A reason that
is not in it holds as the trainer said it.
"""

import enum
from typing import NamedTuple

from msgspec.structs import replace

from contracts.task import Party, Phase
from contracts.training import Failure
from handlers.ports.jobs import JobStatus
from handlers.task_state import AttemptEnd, TaskState


class Again(enum.Enum):
    """Whether a failed attempt is followed by another one, as far as the task's retries allow it."""

    NEVER = "never"
    """Another attempt would end the same way."""
    FURTHER = "further"
    """It may be bad luck, or the same every time: a second failure that got no further than the first is the last."""
    LIMIT = "limit"
    """The fault is the machine's, and the next one may be better."""


class FailureClass(NamedTuple):
    """``action`` is the next step of whoever can take one. ``anew``: not from the checkpoint, which is the fault."""

    party: Party
    again: Again
    action: str
    anew: bool = False


_NEW_TASK = "Submit a new task with other data"
_LOOK = "Look at the job's log"

FAILURES: dict[str, FailureClass] = {
    # The data and the form.
    "nothing-to-train": FailureClass("user", Again.NEVER, _NEW_TASK),
    "preset-too-small": FailureClass("user", Again.NEVER, "Submit a new task with a lower percent"),
    "unreadable-sample": FailureClass("user", Again.NEVER, "Import the dataset again: it is judged anew"),
    "template-refuses-sample": FailureClass("user", Again.NEVER, "Mend the sample, or leave it out"),
    "dataset-changed": FailureClass("user", Again.NEVER, "Import the dataset again, then submit a new task"),
    "dataset-gone": FailureClass("user", Again.NEVER, "Import the dataset again, then submit a new task"),
    "loss-diverged": FailureClass("user", Again.NEVER, "Submit a new task with other hyperparameters"),
    "not-available": FailureClass("user", Again.NEVER, "Choose another training type"),
    "batch-not-divisible": FailureClass("user", Again.NEVER, "Submit a new task with another batch_size"),
    # Too big for the GPU, or somebody else was on it.
    "out-of-memory": FailureClass(
        "user", Again.FURTHER, "Lower batch_size and raise gradient_accumulation by as much, or shorten the samples"
    ),
    # The machine.
    "host-out-of-memory": FailureClass("platform", Again.FURTHER, "Give the job a machine with more memory"),
    "killed": FailureClass("platform", Again.LIMIT, "Look at the machine's own log: most often it ran out of memory"),
    "crashed": FailureClass("platform", Again.LIMIT, _LOOK),
    "disk-full": FailureClass("platform", Again.LIMIT, "Free the disk that holds the trainer's temporary files"),
    "gpu-fault": FailureClass("platform", Again.LIMIT, "Take the machine out of service and test its GPUs"),
    "communication-failed": FailureClass("platform", Again.LIMIT, "Test the network between the job's GPUs"),
    "bucket-unavailable": FailureClass("platform", Again.LIMIT, "Make the bucket reachable from where trainers run"),
    # The engine.
    "time-limit": FailureClass(
        "platform", Again.FURTHER, "Raise time_limit_seconds of its rule, or lower checkpoint_steps"
    ),
    "interrupted": FailureClass("platform", Again.LIMIT, "Find out why the engine ended the job"),
    "preempted": FailureClass("platform", Again.LIMIT, "Give the job a queue that is not preempted"),
    "node-failed": FailureClass("platform", Again.LIMIT, "Take the machine out of service"),
    "stalled": FailureClass("platform", Again.LIMIT, _LOOK),
    "job-lost": FailureClass("platform", Again.LIMIT, "Look at the job's log, and at what became of its machine"),
    "superseded": FailureClass("platform", Again.LIMIT, "Find out why the engine started the job twice"),
    # How trainer and worker are installed.
    "cannot-begin": FailureClass("platform", Again.FURTHER, "Look at the job's log: the trainer could not be started"),
    "plan-missing": FailureClass("platform", Again.FURTHER, "Find out who deleted the plan, then submit a new task"),
    "plan-unusable": FailureClass("platform", Again.NEVER, "Install the same version of trainer and worker"),
    "plan-differs": FailureClass(
        "platform", Again.NEVER, "Install the same version of trainer and worker, then submit a new task"
    ),
    "base-model-missing": FailureClass("platform", Again.FURTHER, "Put the base model into the bucket"),
    "model-refused": FailureClass("platform", Again.NEVER, "Take the model out of the catalogue, or mend it"),
    "model-unusable": FailureClass("platform", Again.NEVER, _LOOK),
    "merge-differs": FailureClass("platform", Again.NEVER, "Submit a new task with merge off, or precision fp32"),
    "packing-leaks": FailureClass("platform", Again.NEVER, "Take Pretrain away from the model in the catalogue"),
    "checkpoint-missing": FailureClass("platform", Again.LIMIT, "Find out who deleted the checkpoint", anew=True),
    "checkpoint-broken": FailureClass("platform", Again.LIMIT, "Find out who changed the checkpoint", anew=True),
    "trainer-error": FailureClass("platform", Again.FURTHER, _LOOK),
}

#: What an engine says of the end of a job, and the reason it is.
_CAUSES = {
    "time-limit": "time-limit",
    "out-of-memory": "host-out-of-memory",
    "node-failed": "node-failed",
    "preempted": "preempted",
}

#: Exit codes of the trainer (worker/trainer), of a shell that could not start it, and of signals as engines say them.
_EXIT_CODES = {
    2: "cannot-begin",
    3: "superseded",
    126: "cannot-begin",
    127: "cannot-begin",
    -9: "killed",
    137: "killed",
    -15: "interrupted",
    143: "interrupted",
}


def class_of(end: AttemptEnd) -> FailureClass:
    """Return what a failure is; one that is not in the table is what the trainer said of it. Pure.

    Where a trainer says that another attempt would end the same way, it knows better than the table.
    """
    known = FAILURES.get(end.reason, FailureClass(end.party, Again.FURTHER, action=""))
    return known if end.retryable else known._replace(again=Again.NEVER)


def reported(state: TaskState, failure: Failure) -> AttemptEnd:
    """Return the end of the current attempt as its trainer reports it. Pure."""
    return _end(state, failure.reason, failure.message, failure.party, retryable=failure.retryable)


def observed(state: TaskState, job: JobStatus) -> AttemptEnd:
    """Return the end of the current attempt, whose job is gone: by its last word, or by what its engine shows. Pure."""
    last = state.last_word
    # The trainer knows that it was asked to end, its engine may know why.
    if last is not None and not (last.reason == "interrupted" and job.cause):
        return last
    if job.cause:
        return _end(state, _CAUSES[job.cause], f"its engine ended the job: {job.cause}")
    code = job.exit_code
    if job.state != "ended" or code is None:
        return _end(state, "job-lost", f"its job is gone without a word (job {job.state})")
    crashed = code < 0 or code > 128
    reason = _EXIT_CODES.get(code, "crashed" if crashed else "job-lost")
    return _end(state, reason, f"its job ended without a word, with exit code {code}")


def stalled(state: TaskState, seconds: float) -> AttemptEnd:
    """Return the end of the current attempt, which has done no step for so long and is given up. Pure."""
    return _end(state, "stalled", f"no new step for {seconds:.0f} s")


def worth_another(state: TaskState, end: AttemptEnd) -> bool:
    """Return whether another attempt follows the current one. Pure."""
    again = class_of(end).again
    if again is Again.NEVER or state.retry_count >= state.retry_limit:
        return False
    return again is Again.LIMIT or not _repeated(state, end)


def failed(state: TaskState, end: AttemptEnd) -> TaskState:
    """Return the state of a task that is not tried again, with why, and what a person can do. Pure."""
    known = class_of(end)
    reason, message = end.reason, end.message
    if known.again is Again.FURTHER and _repeated(state, end):
        message = f"attempts {state.ends[-1].attempt} and {end.attempt} ended in the same way and got as far: {message}"
    elif known.again is not Again.NEVER:
        reason = "retries-exhausted"
        used = f"{state.retry_count} of {state.retry_limit} retries are used up"
        message = f"attempt {end.attempt}: {message} ({end.reason}); {used}"
    if known.action:
        message += f". {known.action}"
    return replace(state, phase=Phase.FAILED, reason=reason, party=known.party, message=message, last_word=end)


def _repeated(state: TaskState, end: AttemptEnd) -> bool:
    before = state.ends[-1] if state.ends else None
    return before is not None and before.reason == end.reason and (end.step or 0) <= (before.step or 0)


def _end(
    state: TaskState, reason: str, message: str, party: Party = "platform", *, retryable: bool = True
) -> AttemptEnd:
    return AttemptEnd(
        attempt=state.attempt,
        executor=state.executor,
        reason=reason,
        party=FAILURES[reason].party if reason in FAILURES else party,
        message=message,
        step=state.progress.step if state.progress else None,
        retryable=retryable,
    )
