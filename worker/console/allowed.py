"""Which commands a task can be given, by its status. Pure; the worker decides, and answers what it refuses."""

from contracts.task import Phase, TaskStatus

#: Reason of the status of a task whose files are gone.
_DELETED = "deleted"


def commands(status: TaskStatus | None) -> tuple[str, ...]:
    """Return the commands that the worker would obey now. A stop may overtake the task itself."""
    if status is None:
        return ("stop",)
    match status.phase:
        case Phase.PREPROCESSING:
            return ("stop",)
        case Phase.QUEUED | Phase.DEPLOYING | Phase.RUNNING | Phase.PAUSED:
            return ("resume" if status.resumable else "pause", "stop")
        case Phase.COMPLETED if status.reason != _DELETED:
            return ("export", "delete")
        case Phase.TERMINATED | Phase.FAILED if status.reason != _DELETED:
            return ("delete",)
        case _:
            return ()
