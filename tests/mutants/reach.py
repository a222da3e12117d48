"""Which tests run which function, and how long they take: a mutant need only be shown to those that can notice."""

import json
import sys
from collections.abc import Collection, Sequence
from time import process_time
from types import FrameType
from typing import NamedTuple

import pytest

from tests.mutants.forks import first_failure, said_by_fork
from tests.mutants.sites import ROOT


class Reach(NamedTuple):
    """Of each test, by its id: what it runs, as ``file:scope``, and its CPU seconds."""

    scopes: dict[str, set[str]]
    seconds: dict[str, float]


def observe(items: Sequence[pytest.Item], files: Collection[str]) -> Reach | str:
    """Run every test once in a fork; return what they reach of these files, or the test that fails."""
    observer = _Observer({str(ROOT / file): file for file in files})
    said = said_by_fork(lambda: observer.run(items))
    if not said.startswith("{"):
        return said
    known = json.loads(said)
    return Reach(
        {test: set(scopes) for test, (scopes, _) in known.items()},
        {test: seconds for test, (_, seconds) in known.items()},
    )


class _Observer:
    def __init__(self, files: dict[str, str]) -> None:
        self._files = files
        self._scopes: set[str] = set()
        self._known: dict[str, tuple[list[str], float]] = {}
        self._before = 0.0

    def run(self, items: Sequence[pytest.Item]) -> str:
        """Return what was seen as JSON, or the test that fails."""
        self._before = process_time()
        sys.setprofile(self._called)
        failing = first_failure(items, self._after)
        sys.setprofile(None)
        return failing or json.dumps(self._known)

    def _called(self, frame: FrameType, event: str, _: object) -> None:
        if event == "call" and (file := self._files.get(frame.f_code.co_filename)):
            self._scopes.add(f"{file}:{frame.f_code.co_qualname.split('.<locals>')[0]}")

    def _after(self, item: pytest.Item) -> None:
        now = process_time()
        self._known[item.nodeid] = (sorted(self._scopes), now - self._before)
        self._scopes.clear()
        self._before = now
