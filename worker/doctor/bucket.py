"""The bucket: whether it can be reached, and whether its conditional puts are conditional."""

from uuid import uuid4

from handlers.errors import PreconditionFailed, Unavailable
from handlers.ports.store import ObjectStore
from worker.doctor.finding import Finding, ok, wrong
from worker.doctor.folders import missing_folder
from worker.settings import Settings, SettingsError
from worker.storage import directory_of, is_directory, open_store

#: What S3 says, and what to do about it; the first that fits.
_REMEDIES = (
    ("RequestTimeTooSkewed", "set this machine's clock, or the server's: they are too far apart for signed requests"),
    ("is not there", "worker bucket create, or set WORKER_STORAGE_URL to a bucket that is there"),
    ("NoSuchBucket", "worker bucket create, or set WORKER_STORAGE_URL to a bucket that is there"),
    ("credentials", "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE"),
    (" 403 ", "check the credentials, and that they may get, put, delete and list there"),
    (" 501 ", "use a server that knows If-Match and If-None-Match on PutObject"),
)
_CHECK_URL = "check WORKER_STORAGE_URL and WORKER_S3_ENDPOINT_URL, and that the server runs"


async def check_bucket(settings: Settings) -> list[Finding]:
    """Return whether the bucket can be used. Puts one object of its own, and removes it."""
    about, url = "bucket", settings.storage_url
    try:
        if is_directory(url) and not directory_of(url).is_dir():
            return [missing_folder(about, directory_of(url), "WORKER_STORAGE_URL")]
        async with open_store(settings) as store:
            fault = await condition_ignored(store, f"checks/{uuid4().hex}")
    except SettingsError as error:
        return [wrong(about, str(error), "set WORKER_STORAGE_URL")]
    except Unavailable as error:
        return [wrong(about, str(error), remedy_for(str(error)))]
    except PermissionError as error:
        return [wrong(about, f"{url}: {error.strerror}", "let this user read and write the directory")]
    if fault:
        remedy = "use a server that honours If-Match and If-None-Match on PutObject: without, tasks are trained twice"
        return [wrong(about, f"{url} {fault}", remedy)]
    return [ok(about, f"{url}; conditional puts hold")]


async def condition_ignored(store: ObjectStore, key: str) -> str | None:
    """Return what is wrong with a bucket's conditional puts, or None. Tried on a key that is nobody's, and removed.

    Everything rests on this: of two that put a receipt only one may succeed, and a state is
    only changed as it was read.

    Raises Unavailable.
    """
    etag = await store.put(key, b"first", if_none_match=True)
    try:
        if await _put(store, key, if_none_match=True):
            return "ignores If-None-Match: it put an object over another"
        if await _put(store, key, if_match=etag[::-1]):
            return "ignores If-Match: it replaced an object that is not the one named"
        if not await _put(store, key, if_match=etag):
            return "refuses If-Match: it did not replace the very object named"
    finally:
        await store.delete(key)
    return None


def remedy_for(text: str) -> str:
    """Return what to do about a bucket that does not answer, by what it said."""
    return next((remedy for said, remedy in _REMEDIES if said in text), _CHECK_URL)


async def _put(store: ObjectStore, key: str, *, if_none_match: bool = False, if_match: str | None = None) -> bool:
    try:
        await store.put(key, b"second", if_none_match=if_none_match, if_match=if_match)
    except PreconditionFailed:
        return False
    return True
