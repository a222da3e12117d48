"""Making the bucket, where nobody else has."""

import asyncio

from worker.settings import Settings
from worker.storage import directory_of, is_directory, open_store


async def make_bucket(settings: Settings) -> bool:
    """Make the bucket of ``WORKER_STORAGE_URL`` and return True; return False where it is there. Idempotent.

    Raises:
        SettingsError: the URL cannot be used.
        Unavailable: S3 does not answer, or refuses; the bucket may be somebody else's.
    """
    if is_directory(settings.storage_url):
        missing = not await asyncio.to_thread(directory_of(settings.storage_url).is_dir)
        async with open_store(settings):
            return missing
    # A second of imports, as in open_store.
    from worker.storage.s3 import open_s3  # noqa: PLC0415 - the reason is above

    async with open_s3(settings.storage_url, endpoint_url=settings.s3_endpoint_url) as store:
        return await store.make_bucket()
