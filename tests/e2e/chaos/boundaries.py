"""Places in a worker where a crash hurts most, and traps that crash it exactly there.

A trap is a folder of tokens that all workers of a round share. Each passage of its boundary, in whichever worker, takes
one, and who takes the last dies as kill -9 would have it: so a trap that was set is sprung, whoever does the work.
"""

import os
import signal
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

from contracts.topics import DEAD_LETTER_SUFFIX
from worker.delivery.intake import Intake
from worker.delivery.publishing import Publisher
from worker.executors.local import LocalExecutor
from worker.storage.s3 import S3Store

Arguments = tuple[Any, ...]


class Boundary(NamedTuple):
    """A call before or after which a worker dies; ``counts`` says of its arguments whether it is one."""

    owner: type
    method: str
    when: Literal["before", "after"]
    counts: Callable[[Arguments], bool]


def _key(part: str, content: bytes = b"") -> Callable[[Arguments], bool]:
    return lambda call: part in str(call[1]) and content in call[2]


def _letters(call: Arguments) -> bool:
    return any(topic.endswith(DEAD_LETTER_SUFFIX) for topic, *_ in call[1])


def _events(call: Arguments) -> bool:
    return bool(call[1])


def _done_and_not_committed(call: Arguments) -> bool:
    return any(progress.position > progress.committed for progress in call[1].values())


BOUNDARIES = {
    # An attempt is claimed by the change that queues it; every other change of a task's state is one too.
    "after-claim": Boundary(S3Store, "put", "after", _key("/state.json", b'"phase":"Queued"')),
    "after-state": Boundary(S3Store, "put", "after", _key("/state.json")),
    "before-submit": Boundary(LocalExecutor, "submit", "before", lambda _: True),
    "after-submit": Boundary(LocalExecutor, "submit", "after", lambda _: True),
    "before-receipt": Boundary(S3Store, "put", "before", _key("receipts/")),
    "after-receipt": Boundary(S3Store, "put", "after", _key("receipts/")),
    "before-manifest": Boundary(S3Store, "put", "before", _key("/manifest.json")),
    "before-publish": Boundary(Publisher, "publish", "before", _events),
    "after-publish": Boundary(Publisher, "publish", "after", _events),
    "before-dead-letter": Boundary(Publisher, "send", "before", _letters),
    "after-dead-letter": Boundary(Publisher, "send", "after", _letters),
    "before-commit": Boundary(Intake, "_commit", "before", _done_and_not_committed),
}

#: Traps a round: any three rounds in a row have a trap at every boundary.
A_ROUND = 4


def of_round(seed: int) -> list[str]:
    """Return the boundaries where a round kills a worker."""
    names = list(BOUNDARIES)
    # Not neighbours: a round should not be about one kind of crash alone.
    return [names[(seed + n * len(names) // A_ROUND) % len(names)] for n in range(A_ROUND)]


def arm(traps: Path, boundary: str, passages: int) -> None:
    """Set a trap that kills at the so manieth passage of a boundary, counted over all workers."""
    (traps / boundary).mkdir(parents=True)
    for token in range(passages):
        (traps / boundary / str(token)).touch()


def sprung(traps: Path) -> list[str]:
    """Return the boundaries where a worker was killed."""
    return sorted(trap.name for trap in traps.iterdir() if not any(trap.iterdir()))


def walk_into(traps: Path, boundaries: Mapping[str, Boundary] = BOUNDARIES) -> None:
    """Let this process kill itself where a trap says so. Traps must be set before."""
    for name, boundary in boundaries.items():
        if (traps / name).exists():
            _watch(boundary, traps / name)


def _watch(boundary: Boundary, trap: Path) -> None:
    real = getattr(boundary.owner, boundary.method)

    async def passing(*arguments: Any, **named: Any) -> Any:
        counts = boundary.counts(arguments)
        if counts and boundary.when == "before":
            _pass(trap)
        answer = await real(*arguments, **named)
        if counts and boundary.when == "after":
            _pass(trap)
        return answer

    setattr(boundary.owner, boundary.method, passing)


def _pass(trap: Path) -> None:
    for token in sorted((int(found.name) for found in trap.iterdir()), reverse=True):
        try:
            (trap / str(token)).unlink()
        except FileNotFoundError:
            continue  # another worker took it
        if token == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return
