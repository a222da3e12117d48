"""``worker run`` that is killed at one step of a model's end: ``python -m tests.integration.dying_worker TRAPS``."""

import sys
from pathlib import Path

from tests.e2e.chaos.boundaries import Arguments, Boundary, walk_into
from worker.cli import app
from worker.delivery.publishing import Publisher
from worker.storage.directory import DirectoryStore


def _marks(call: Arguments) -> bool:
    return str(call[1]).endswith("/manifest.json") and b'"expiry":{' in call[2]


def _says(call: Arguments) -> bool:
    return any(event.topic == "model.expired" for event in call[1])


def _deletes(call: Arguments) -> bool:
    return str(call[1]).startswith("models/")


STEPS = {
    "before-mark": Boundary(DirectoryStore, "put", "before", _marks),
    "after-mark": Boundary(DirectoryStore, "put", "after", _marks),
    "before-said": Boundary(Publisher, "publish", "before", _says),
    "after-said": Boundary(Publisher, "publish", "after", _says),
    "after-first-deletion": Boundary(DirectoryStore, "delete", "after", _deletes),
}

if __name__ == "__main__":
    walk_into(Path(sys.argv[1]), STEPS)
    app(["run", "--stage", "training-dispatch"])
