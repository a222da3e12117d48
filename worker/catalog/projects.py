"""Reads what is configured about projects: which files each may read."""

from pathlib import Path

from msgspec import Struct

from contracts.envelope import Id
from handlers.errors import OutsideBucket
from handlers.ports import ObjectStore
from handlers.tenancy.projects import PROJECT, ProjectRules, Projects
from worker.catalog.loader import CatalogError, read_toml


class _Rules(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    read: tuple[str, ...] | None = None


class _File(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    every_project: _Rules = _Rules()
    projects: dict[Id, _Rules] = {}


def load_projects(path: Path | None, store: ObjectStore) -> Projects:
    """Read the file; without one nothing is restricted. Asks nothing of the bucket. Blocks.

    Raises:
        CatalogError: the file is missing, is not TOML, breaks a rule, or allows what is no folder of this bucket.
    """
    if path is None:
        return Projects()
    said = read_toml(path, _File)
    every = _rules(said.every_project, store, f"{path}: every_project")
    named = {name: _rules(rules, store, f"{path}: projects.{name}") for name, rules in said.projects.items()}
    return Projects(every, named)


def _rules(said: _Rules, store: ObjectStore, where: str) -> ProjectRules:
    if said.read is None:
        return ProjectRules()
    prefixes = [_prefix(uri, store, f"{where}.read[{index}]") for index, uri in enumerate(said.read)]
    return ProjectRules(read=tuple(prefixes))


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
