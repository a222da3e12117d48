"""Whether a project may read a file, or use a dataset. Nothing is asked of the bucket."""

from collections.abc import Iterable, Mapping

from handlers.datasets import KnownDataset
from handlers.errors import OutsideBucket
from handlers.ports.store import ObjectStore
from handlers.tenancy.projects import Projects


def refusal(uri: str, project: str, *, projects: Projects, store: ObjectStore) -> str | None:
    """Return why a project may not read a file, with the remedy, or None. Never raises: a URI may be anything. Pure."""
    try:
        key = store.key(uri)
    except OutsideBucket:
        return f"{_shown(uri)}: not in this platform's bucket; copy the file into it first"
    if projects.may_read(project, key):
        return None
    below = [store.uri(prefix) if prefix else "this platform's bucket" for prefix in projects.readable(project)]
    remedy = (
        f"copy the file below {' or '.join(below)} first" if below else "nor any other: ask this platform's operators"
    )
    return f"{uri}: project {project} may not read this file; {remedy}"


def forbidden(
    known: Mapping[str, KnownDataset | None],
    dataset_ids: Iterable[str],
    project: str,
    projects: Projects,
    store: ObjectStore,
) -> list[str]:
    """Return why a project may not use datasets, whoever imported them; empty: it may use all of these. Pure."""
    if not projects.restricts_reading:
        return []
    files = [(name, file) for name in dataset_ids if (found := known.get(name)) for file in found.files]
    why = [(name, refusal(file.uri, project, projects=projects, store=store)) for name, file in files]
    return [f"dataset {name}: {each}" for name, each in why if each]


def _shown(uri: str) -> str:
    """Return a URI that is no key of ours without what may be a secret in it: a user, and what signs a web address."""
    scheme, colon, rest = uri.partition("://")
    if not colon:
        return uri
    if scheme.lower() in ("http", "https"):
        rest = rest.partition("?")[0]
    host, slash, path = rest.partition("/")
    return f"{scheme}://{host.rpartition('@')[2]}{slash}{path}"
