"""Tasks for people: a line each."""

from contracts.task import Progress, TaskStatus

_MINUTE, _HOUR = 60, 3600


def line(status: TaskStatus) -> str:
    """Return a task as one line: id, phase, how far it is, whose it is, and why it is where it is."""
    parts = [f"{status.task_id:<24} {status.phase.value:<13}", f"{_how_far(status):<44}", status.project]
    # Progress tells of a task that trains, and its reason says no more.
    if status.message:
        parts.append(f"{status.reason}: {status.message}")
    return "  ".join(parts).rstrip()


def _how_far(status: TaskStatus) -> str:
    said = []
    if status.attempt:
        said.append(f"attempt {status.attempt}")
    if status.queue_position is not None and status.phase.value == "Queued":
        said.append(f"place {status.queue_position}")
    if status.progress is not None:
        said += _progress(status.progress, ended=status.terminal)
    return ", ".join(said)


def _progress(progress: Progress, *, ended: bool) -> list[str]:
    said = [f"step {progress.step}/{progress.total_steps}"]
    if progress.loss is not None:
        said.append(f"loss {progress.loss:.4g}")
    if progress.eta_seconds is not None and not ended:
        said.append(f"{_time(progress.eta_seconds)} left")
    return said


def _time(seconds: float) -> str:
    if seconds < _MINUTE:
        return f"{seconds:.0f} s"
    if seconds < _HOUR:
        return f"{seconds / _MINUTE:.0f} min"
    return f"{seconds / _HOUR:.1f} h"
