"""What is published in a round, and what must come of it. Everything follows from the seed."""

import random
from collections.abc import Callable
from typing import Any, NamedTuple

from contracts.codec import encode_body
from tests.e2e.chaos.trainers import TrainerKind
from tests.platform import form


class Said(NamedTuple):
    """One record to publish: raw, because some of it is poison."""

    topic: str
    key: bytes | None
    body: bytes | None
    headers: tuple[tuple[str, bytes | None], ...] = ()
    poison: bool = False
    #: Not before this task trains, and so many seconds after it began to.
    once_trains: str | None = None
    after: float = 0.0


class Story(NamedTuple):
    """A round's records in their order, and its tasks by what must become of them."""

    records: list[Said]
    datasets: dict[str, bytes]
    completed: list[str]
    failed: list[str]
    stopped: list[str]

    @property
    def tasks(self) -> list[str]:
        """Return every task."""
        return [*self.completed, *self.failed, *self.stopped]

    @staticmethod
    def task_of(dataset_id: str) -> str:
        """Return the task that is trained on a dataset."""
        return dataset_id.removeprefix("d-")


_BAD_LINE = b'{"messages": []}\n'
_POISON = (
    (b"not JSON", ()),
    (b'{"task_id": 7}', ()),
    (b"\xff\xfe", ()),
    (b"[]", (("ce_id", b"\xff"),)),
    (b"{}", (("x", None),)),
    (None, ()),
)


def tell(seed: int, tasks: int, kind: TrainerKind, uri_of: Callable[[str], str]) -> Story:
    """Make up a round. ``uri_of(dataset_id)`` is where the dataset's file will be.

    The first task's dataset has a fault; a fifth of the tasks, one at least, is stopped at some time.
    """
    dice = random.Random(seed)  # noqa: S311 - a story that can be told again
    names = [f"t{seed}-{n}" for n in range(tasks)]
    first = 1 + max(1, tasks // 5)
    failed, stopped, completed = names[:1], names[1:first], names[first:]
    chosen = kind.form(dice)
    datasets: dict[str, bytes] = {}
    causes: list[Said] = []
    for name in names:
        dataset_id = f"d-{name}"
        datasets[dataset_id] = kind.lines(name) + (_BAD_LINE if name in failed else b"")
        draft = form(name, dataset_id, **chosen)
        imported = {
            "dataset_id": dataset_id,
            "files": [{"uri": uri_of(dataset_id)}],
            "draft": draft,
            "imported_at": "2026-01-01T00:00:00Z",
        }
        causes += [_event("dataset.imported", dataset_id, imported), _event("task.created", name, draft)]
    records = _shuffled(causes, dice)
    for name in stopped:
        command = {"command_id": f"stop-{name}", "task_id": name, "command": "stop"}
        stop = _event("task.command", name, command)
        if dice.random() < kind.stops_in_training:
            records.append(stop._replace(once_trains=name, after=dice.uniform(0, kind.training_seconds)))
        else:
            records.insert(dice.randrange(len(records)), stop)
    # Duplicates come later than what they repeat, or much later.
    for record in dice.sample(records, len(records) // 2):
        records.insert(
            dice.randrange(records.index(record), len(records)) + 1, record._replace(once_trains=None, after=0.0)
        )
    for n in range(tasks):
        body, headers = dice.choice(_POISON)
        topic = dice.choice(("dataset.imported", "task.created", "task.command", "training.progress"))
        records.insert(dice.randrange(len(records)), Said(topic, f"poison-{n}".encode(), body, headers, poison=True))
    return Story(records, datasets, completed, failed, stopped)


def _event(topic: str, key: str, body: Any) -> Said:
    return Said(topic, key.encode(), encode_body(body))


def _shuffled(records: list[Said], dice: random.Random) -> list[Said]:
    return dice.sample(records, len(records))
