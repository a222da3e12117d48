"""Reads what is configured about projects: what each may read and use, and how long its models are kept."""

from decimal import Decimal
from pathlib import Path
from typing import Annotated

from msgspec import Meta, Struct

from contracts.envelope import Id
from handlers.errors import OutsideBucket
from handlers.ports.store import ObjectStore
from handlers.tenancy.limits import Limits
from handlers.tenancy.projects import PROJECT, ProjectRules, Projects
from worker.catalog.executors import load_placement
from worker.catalog.loader import Amount, CatalogError, read_toml
from worker.settings import Settings


class _Limits(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    running_tasks: Annotated[int, Meta(ge=0)] | None = None
    gpu_hours_a_day: Annotated[float, Meta(ge=0, le=1_000_000)] | None = None
    spend_a_day: Amount | None = None

    @property
    def limits(self) -> Limits:
        return Limits(
            running_tasks=self.running_tasks,
            gpu_hours_a_day=self.gpu_hours_a_day,
            spend_a_day=None if self.spend_a_day is None else Decimal(self.spend_a_day),
        )


class _Rules(_Limits, frozen=True, kw_only=True, forbid_unknown_fields=True):
    read: tuple[str, ...] | None = None
    model_retention_days: Annotated[float, Meta(gt=0, le=36_500)] | None = None


class _File(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    every_project: _Rules = _Rules()
    projects: dict[Id, _Rules] = {}
    platform: _Limits = _Limits()

    @property
    def limits_gpu_hours(self) -> bool:
        every = (self.platform, self.every_project, *self.projects.values())
        return any(limits.gpu_hours_a_day is not None for limits in every)


def load_projects(settings: Settings, store: ObjectStore) -> Projects:
    """Read the file; without one nothing is restricted. Asks nothing of the bucket. Blocks.

    Raises:
        CatalogError: the file is missing, is not TOML, breaks a rule, allows what is no folder of this bucket, or
            limits GPU-hours where the executors' rules do not say how long a job may take.
    """
    path = settings.projects_file
    if path is None:
        return Projects()
    said = read_toml(path, _File)
    if said.limits_gpu_hours:
        _check_time_limits(path, settings)
    every = _rules(said.every_project, store, f"{path}: every_project")
    named = {name: _rules(rules, store, f"{path}: projects.{name}") for name, rules in said.projects.items()}
    return Projects(every, named, said.platform.limits)


def _rules(said: _Rules, store: ObjectStore, where: str) -> ProjectRules:
    read = said.read
    if read is not None:
        read = tuple(_prefix(uri, store, f"{where}.read[{index}]") for index, uri in enumerate(read))
    return ProjectRules(read=read, limits=said.limits, model_retention_days=said.model_retention_days)


def _check_time_limits(path: Path, settings: Settings) -> None:
    """A quota holds only if it is known before a job begins how long it may hold its GPUs."""
    rules = load_placement(settings).rules
    endless = [index for index, rule in enumerate(rules) if rule.gpus and rule.time_limit_seconds is None]
    if endless:
        raise CatalogError(
            f"{path}: gpu_hours_a_day needs a time_limit_seconds where jobs have GPUs; rules[{endless[0]}] in the file "
            "of WORKER_EXECUTORS_FILE has none"
        )


def _prefix(uri: str, store: ObjectStore, where: str) -> str:
    """Return the prefix in the bucket that a URI means."""
    if not uri.endswith("/"):
        raise CatalogError(f"{where}: {uri!r} would allow {uri + 'b/'!r} too; end it with a slash")
    if "{" in uri.replace(PROJECT, ""):
        raise CatalogError(f"{where}: {uri!r}: only {PROJECT} is replaced")
    # The bucket itself has no key; a file in it has.
    try:
        return store.key(uri + "file").removesuffix("file")
    except OutsideBucket as error:
        message = f"{error}; the worker reads its own bucket alone, into which the platform copies what is imported"
        raise CatalogError(f"{where}: {message}") from error
