"""Trying mutants: pytest collects the tests once, and each mutant is a fork of it that ends where one fails."""

from importlib import import_module
from typing import NamedTuple

import pytest

from tests.mutants.changes import Mutation
from tests.mutants.forks import first_failure, said_by_fork
from tests.mutants.graft import graft
from tests.mutants.reach import Reach, observe
from tests.mutants.sites import Module


class Outcome(NamedTuple):
    """What became of one mutant: the test that noticed it, or how else it ended; nothing where it survived."""

    mutation: Mutation
    noticed_by: str


class Trials:
    """A pytest plugin that runs the collected tests once as they are, and then against every mutant."""

    def __init__(self, modules: list[Module]) -> None:
        for module in modules:
            import_module(module.name)
        self._modules = modules
        self.outcomes: list[Outcome] = []
        self.failing = "no test was collected"

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Try every mutant, instead of running the tests."""
        reach = observe(session.items, {module.file for module in self._modules})
        if isinstance(reach, str):
            self.failing = reach
            return True
        self.failing = ""
        # Quick tests first; and what has noticed one mutant is likely to notice the next one, which is near.
        items = sorted(session.items, key=lambda item: reach.seconds[item.nodeid])
        for module in self._modules:
            for mutation in module.mutations:
                noticed = _noticed(module, mutation, _reaching(items, reach, mutation))
                self.outcomes.append(Outcome(mutation, noticed))
                items.sort(key=lambda item: item.nodeid != noticed)
        return True


def _reaching(items: list[pytest.Item], reach: Reach, mutation: Mutation) -> list[pytest.Item]:
    """Return the tests that run what is changed; where that is no function, every test."""
    scope = f"{mutation.file}:{mutation.scope}"
    return [item for item in items if not mutation.in_function or scope in reach.scopes[item.nodeid]]


def _noticed(module: Module, mutation: Mutation, items: list[pytest.Item]) -> str:
    def run() -> str:
        mutation.place.put(mutation.new)
        try:
            graft(module.name, module.tree)
        except BaseException as error:  # noqa: BLE001 - a module that cannot be imported is noticed, whatever it raises
            return f"(at import: {type(error).__name__})"
        return first_failure(items)

    return said_by_fork(run)
