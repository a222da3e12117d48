"""Whether the services a worker stands on can be used: one line each, with the remedy."""

import sys
from uuid import uuid4

from handlers.errors import PreconditionFailed, Unavailable
from worker.broker import BrokerUnavailable
from worker.settings import Settings
from worker.storage import open_store
from worker.topics import TopicCreationError, ensure_topics


async def check_services(settings: Settings) -> int:
    """Check broker, topics and bucket; print a line each to stderr. Returns the exit code: 0 usable, 2 not."""
    problems = [await _check_broker(settings), await _check_bucket(settings)]
    return 2 if any(problems) else 0


async def _check_broker(settings: Settings) -> bool:
    try:
        created = await ensure_topics(settings.kafka_bootstrap_servers)
    except (BrokerUnavailable, TopicCreationError) as error:
        return _say(False, "broker", str(error))
    topics = f"created {', '.join(created)}" if created else "all topics are there"
    return _say(True, "broker", f"{settings.kafka_bootstrap_servers}; {topics}")


async def _check_bucket(settings: Settings) -> bool:
    """Prove the one thing everything rests on: of two conditional puts, the second fails."""
    key = f"checks/{uuid4().hex}"
    try:
        async with open_store(settings) as store:
            await store.put(key, b"", if_none_match=True)
            try:
                await store.put(key, b"", if_none_match=True)
            except PreconditionFailed:
                return _say(True, "bucket", f"{settings.storage_url}; conditional puts hold")
            finally:
                await store.delete(key)
    except (Unavailable, OSError, ValueError) as error:
        return _say(False, "bucket", f"{settings.storage_url}: {error}; check WORKER_STORAGE_URL and its credentials")
    return _say(False, "bucket", f"{settings.storage_url} ignores If-None-Match: use a server that honours it")


def _say(good: bool, what: str, text: str) -> bool:
    """Print a line; return whether there is a problem."""
    print(f"{'ok  ' if good else 'FAIL'} {what}: {text}", file=sys.stderr)  # noqa: T201 - the answer to --check
    return not good
