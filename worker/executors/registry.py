"""The executors there are, by name. What a new one takes: docs/DESIGN.md, "Adding".

A module is imported when its executor is configured, so that nobody needs the clients of engines they do not use. That
of executor ``x`` has a function ``x_executor(settings)``, which returns the Executor; that has a ``close``. Where there
is something an engine can never give, the module has a ``refusal(settings, resources)``, which returns why, or None.
"""

from importlib import import_module
from types import ModuleType
from typing import Protocol, cast, runtime_checkable

from handlers.ports.executors import Executor
from handlers.ports.jobs import Resources
from worker.settings import Settings, SettingsError

MODULES = {
    "kubernetes": "worker.executors.kubernetes",
    "local": "worker.executors.local",
    "ray": "worker.executors.ray",
    "slurm": "worker.executors.slurm",
}


class OpenExecutor(Executor, Protocol):
    """An executor that holds something of this process."""

    async def close(self) -> None:
        """Let go of it. Jobs run on."""
        ...


@runtime_checkable
class KeepsQueue(Protocol):
    """An executor that starts jobs itself: it has to be run beside the stages, until it is cancelled."""

    name: str

    async def run(self) -> None:
        """Start what is due, for ever."""
        ...


def open_executor(name: str, settings: Settings) -> OpenExecutor:
    """Return a new executor. Raises KeyError for a name that is not in MODULES, SettingsError as its module does."""
    return cast("OpenExecutor", getattr(_module(name), f"{name}_executor")(settings))


def refusal(name: str, settings: Settings, resources: Resources) -> str | None:
    """Return why an executor could never run a job that asks for these, or None. May block for seconds, once.

    Raises SettingsError where its client is not installed.
    """
    asked = getattr(_module(name), "refusal", None)
    return cast("str | None", asked(settings, resources)) if asked else None


def _module(name: str) -> ModuleType:
    try:
        return import_module(MODULES[name])
    except ModuleNotFoundError as error:
        raise SettingsError(
            f"executor {name!r} needs {error.name}: install this package with the extra {name!r}"
        ) from error
