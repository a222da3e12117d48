"""Whether what a worker stands on can be used: one line each, with the remedy. Nothing is created."""

import os
import sys
from pathlib import Path
from uuid import uuid4

from handlers.errors import PreconditionFailed, Unavailable
from handlers.table import STAGES
from worker.broker import Brokers, BrokerUnavailable
from worker.catalog import load_catalog
from worker.delivery import later
from worker.executors.configured import open_executors
from worker.settings import Settings, SettingsError
from worker.storage import directory_of, open_store
from worker.topics import missing_topics

#: What may begin a line. ``note``: usable, and perhaps not what was meant.
_OK, _NOTE, _FAIL = "ok  ", "note", "FAIL"


async def check_services(settings: Settings) -> int:
    """Check broker, bucket, catalogue, executors and work folder; print a line each to stderr.

    Creates nothing: the one object that is put into the bucket, to see whether conditional puts hold, is removed again.
    Returns the exit code: 0 usable, 2 not.
    """
    for unknown in Settings.unknown():
        _say(_NOTE, "settings", str(unknown))
    usable = [
        await _check_broker(settings),
        await _check_bucket(settings),
        _check_catalogue(settings),
        await _check_executors(settings),
        _check_work_dir(settings.work_dir),
    ]
    return 0 if all(usable) else 2


async def _check_broker(settings: Settings) -> bool:
    servers = settings.kafka_bootstrap_servers
    try:
        missing = await missing_topics(Brokers.of(settings), delays=later.names(STAGES))
    except (BrokerUnavailable, SettingsError) as error:
        return _say(_FAIL, "broker", str(error))
    if missing:
        return _say(_NOTE, "broker", f"{servers}; {len(missing)} topics are missing: worker run creates them")
    return _say(_OK, "broker", f"{servers}; all topics are there")


async def _check_bucket(settings: Settings) -> bool:
    url = settings.storage_url
    try:
        if url.lower().startswith("file:") and not directory_of(url).is_dir():
            return _check_new_directory("bucket", directory_of(url))
        return await _check_conditional_puts(settings)
    except SettingsError as error:
        return _say(_FAIL, "bucket", str(error))
    except (Unavailable, OSError, ValueError) as error:
        return _say(_FAIL, "bucket", f"{url}: {error}; check WORKER_STORAGE_URL and its credentials")


async def _check_conditional_puts(settings: Settings) -> bool:
    """Prove the one thing everything rests on: of two conditional puts, the second fails."""
    key = f"checks/{uuid4().hex}"
    async with open_store(settings) as store:
        await store.put(key, b"", if_none_match=True)
        try:
            await store.put(key, b"", if_none_match=True)
        except PreconditionFailed:
            return _say(_OK, "bucket", f"{settings.storage_url}; conditional puts hold")
        finally:
            await store.delete(key)
    return _say(_FAIL, "bucket", f"{settings.storage_url} ignores If-None-Match: use a server that honours it")


def _check_catalogue(settings: Settings) -> bool:
    try:
        models = load_catalog(settings.models_file, settings.prices_file).models()
    except SettingsError as error:
        return _say(_FAIL, "catalogue", str(error))
    return _say(_OK, "catalogue", ", ".join(f"{model.name} {model.version}" for model in models))


async def _check_executors(settings: Settings) -> bool:
    try:
        async with open_executors(settings) as executors:
            names = [executor.name for executor in executors.every()]
    except SettingsError as error:
        return _say(_FAIL, "executors", str(error))
    return _say(_OK, "executors", ", ".join(names))


def _check_work_dir(folder: Path) -> bool:
    if not folder.exists():
        return _check_new_directory("work folder", folder)
    if folder.is_dir() and os.access(folder, os.W_OK | os.X_OK):
        return _say(_OK, "work folder", str(folder.absolute()))
    return _say(_FAIL, "work folder", f"{folder.absolute()} is no folder that can be written to; set WORKER_WORK_DIR")


def _check_new_directory(what: str, folder: Path) -> bool:
    """Say of a directory that is not there whether it could be made."""
    above = next(each for each in folder.absolute().parents if each.exists())
    if above.is_dir() and os.access(above, os.W_OK | os.X_OK):
        return _say(_NOTE, what, f"{folder.absolute()} is not there: worker run makes it, if it is not misspelt")
    return _say(_FAIL, what, f"{folder.absolute()} is not there and cannot be made in {above}")


def _say(mark: str, what: str, text: str) -> bool:
    """Print a line; return whether what it is about can be used."""
    print(f"{mark} {what}: {text}", file=sys.stderr)  # noqa: T201 - the answer to --check
    return mark != _FAIL
