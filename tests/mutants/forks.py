"""Running tests in a fork of this process, which ends at the first that fails."""

import gc
import os
import resource
import signal
from collections.abc import Callable, Sequence
from typing import NoReturn

import pytest

#: CPU seconds one test may take. The slowest takes a tenth of it where nothing is broken.
_SECONDS_A_TEST = 5

#: Bytes a fork may take beyond what the process has.
_MEMORY = 2 << 30


def said_by_fork(work: Callable[[], str]) -> str:
    """Return what ``work`` returns in a fork of this process, or how the fork ended, in parentheses."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(read)
        _quiet_and_bounded()
        _end(write, work())
    os.close(write)
    with os.fdopen(read, "rb") as answer:
        said = answer.read().decode()
    _, status = os.waitpid(child, 0)
    return f"({signal.Signals(os.WTERMSIG(status)).name})" if os.WIFSIGNALED(status) else said


class FirstFailure:
    """A pytest plugin that keeps the id of the first test that fails."""

    def __init__(self) -> None:
        self.test = ""

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_makereport(self, item: pytest.Item, call: pytest.CallInfo[None]) -> pytest.TestReport | None:
        """Report a failure without its traceback, which takes longer than the test. Anything else is left to pytest."""
        if call.excinfo is None or call.excinfo.errisinstance(pytest.skip.Exception):
            return None
        assert call.when != "collect", "the tests are collected once, before"
        self.test = self.test or item.nodeid
        return pytest.TestReport(item.nodeid, item.location, item.keywords, "failed", "", call.when)


def first_failure(items: Sequence[pytest.Item], after: Callable[[pytest.Item], None] = lambda _: None) -> str:
    """Run tests up to the first that fails and return its id, or nothing. ``after`` is called after each."""
    if not items:
        return ""
    failure = FirstFailure()
    items[0].config.pluginmanager.register(failure)
    for item in items:
        signal.setitimer(signal.ITIMER_PROF, _SECONDS_A_TEST)
        item.config.hook.pytest_runtest_protocol(item=item, nextitem=None)
        signal.setitimer(signal.ITIMER_PROF, 0)
        after(item)
        if failure.test:
            break
    return failure.test


def _quiet_and_bounded() -> None:
    gc.disable()
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    resource.setrlimit(resource.RLIMIT_AS, (used + _MEMORY, used + _MEMORY))
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    os.dup2(null, 2)


def _end(write: int, said: str) -> NoReturn:
    with os.fdopen(write, "wb") as answer:
        answer.write(said.encode())
    os._exit(0)
