"""Places in a worker where a crash hurts most, and a way to crash exactly there."""

import os
import signal
from collections.abc import Callable
from typing import Any

from worker.delivery.intake import Intake
from worker.delivery.publishing import Publisher
from worker.executors.local import LocalExecutor
from worker.storage.s3 import S3Store

#: A boundary -> the method after (or before) which the worker dies, and which of its calls count.
Counted = Callable[[tuple[Any, ...]], bool]


def _key(part: str) -> Counted:
    return lambda arguments: part in str(arguments[1])


def _always(_: tuple[Any, ...]) -> bool:
    return True


BOUNDARIES: dict[str, tuple[type, str, str, Counted]] = {
    "after-claim": (S3Store, "put", "after", _key("/state.json")),
    "before-submit": (LocalExecutor, "submit", "before", _always),
    "after-submit": (LocalExecutor, "submit", "after", _always),
    "before-receipt": (S3Store, "put", "before", _key("receipts/")),
    "after-receipt": (S3Store, "put", "after", _key("receipts/")),
    "before-publish": (Publisher, "publish", "before", lambda arguments: bool(arguments[1])),
    "after-publish": (Publisher, "publish", "after", lambda arguments: bool(arguments[1])),
    "before-commit": (Intake, "_commit", "before", lambda arguments: bool(arguments[0].lanes.depth)),
}


def die_at(boundary: str, times: int) -> None:
    """Let this process kill itself, as kill -9 would, at the ``times``-th passage of a boundary."""
    owner, name, when, counted = BOUNDARIES[boundary]
    real = getattr(owner, name)
    passages = 0

    async def passing(*arguments: Any, **named: Any) -> Any:
        nonlocal passages
        counts = counted(arguments)
        passages += counts
        if counts and when == "before" and passages >= times:
            os.kill(os.getpid(), signal.SIGKILL)
        answer = await real(*arguments, **named)
        if counts and when == "after" and passages >= times:
            os.kill(os.getpid(), signal.SIGKILL)
        return answer

    setattr(owner, name, passing)
