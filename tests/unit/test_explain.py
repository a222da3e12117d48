"""``worker explain``: how a task stands, how its attempts ended, and what a person can do."""

import asyncio
from pathlib import Path

import msgspec
from msgspec.structs import replace
from typer.testing import CliRunner

from contracts.task import Phase, Progress
from contracts.training import Failure
from handlers import attempts, failures, task_state
from handlers.ports.executors import Choice
from handlers.ports.jobs import JobStatus, Resources
from handlers.task_state import TaskState
from worker.cli import app
from worker.clock import SystemClock
from worker.storage.directory import DirectoryStore

RUNNING = TaskState(
    task_id="t-1", phase=Phase.RUNNING, attempt=1, executor="slurm", progress=Progress(step=40, total_steps=80)
)


def _explained(folder: Path, state: TaskState, *options: str) -> str:
    change = task_state.change(DirectoryStore(folder), SystemClock(), "t-1", lambda _: state)
    asyncio.run(change)
    result = CliRunner().invoke(app, ["explain", "t-1", *options], env={"WORKER_STORAGE_URL": folder.as_uri()})
    assert result.exit_code == 0, result.output
    return result.stdout


def _failed_twice() -> TaskState:
    first = failures.observed(RUNNING, JobStatus(state="ended", exit_code=-9))
    again = attempts.retried(RUNNING, Choice("ray", Resources()), first)
    return failures.failed(again, failures.reported(again, Failure("loss-diverged", "user", "the loss is nan")))


def test_a_failure_is_told_with_its_class_and_the_next_step_and_the_attempts_before_it(tmp_path: Path) -> None:
    lines = _explained(tmp_path, _failed_twice()).splitlines()
    assert lines == [
        "task t-1: Failed, attempt 2 on ray",
        "  loss-diverged, the user's matter; 1 of 3 retries used",
        "  the loss is nan. Submit a new task with other hyperparameters",
        "  attempt 1 on slurm ended at step 40: killed (platform): its job ended without a word, with exit code -9",
    ]


def test_programs_read_the_same(tmp_path: Path) -> None:
    told = msgspec.json.decode(_explained(tmp_path, _failed_twice(), "--json"))
    assert (told["reason"], told["party"], told["executor"], told["resumable"]) == (
        "loss-diverged",
        "user",
        "ray",
        False,
    )
    assert [(end["attempt"], end["executor"], end["reason"]) for end in told["ends"]] == [(1, "slurm", "killed")]


def test_a_paused_task_is_said_to_be_resumable(tmp_path: Path) -> None:
    told = _explained(tmp_path, attempts.paused(replace(RUNNING, desired="pause")))
    assert "it can be resumed" in told
    assert "paused-by-user, the user's matter" in told
