"""What tells apart the jobs of deployments that share an engine: their tasks' ids may be the same."""

import hashlib
import re

from worker.settings import Settings

_READABLE = 24


def namespace_of(settings: Settings) -> str:
    """Return the namespace of a deployment's jobs: the one that is set, else one that follows from its bucket. Pure.

    Workers of one bucket agree, those of two buckets differ, one on each of two S3 servers included. At most 40
    characters: lower-case letters, digits and hyphens, of which none is the first or the last.
    """
    if settings.job_namespace is not None:
        return settings.job_namespace
    bucket = settings.storage_url.rstrip("/")
    readable = re.sub(r"[^a-z0-9]+", "-", bucket.rpartition("/")[2].lower())[:_READABLE].strip("-")
    where = f"{bucket} {(settings.s3_endpoint_url or '').rstrip('/')}"
    return "-".join(filter(None, (readable, hashlib.sha256(where.encode()).hexdigest()[:8])))
