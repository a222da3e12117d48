"""Who may do what in the bucket: the least that each program can do its work with, and S3's policy that says so. Pure.

Prefixes are those of handlers/layout.py, and ``uploads/``, where the console puts files. All roles may list and read
what they read by name: without the right to list, S3 answers that an object which is not there is forbidden.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

from worker.settings import SettingsError

#: What S3 is asked for, by the right that it needs.
ACTIONS = {
    "read": ("s3:GetObject",),
    "write": ("s3:PutObject", "s3:AbortMultipartUpload"),
    "delete": ("s3:DeleteObject",),
}
LIST = "s3:ListBucket"

_EVERYTHING = ("",)
#: What `worker doctor` and `worker run --check` try the bucket on, and what a dry run keeps while it runs.
_TRIED = ("checks/", "dry-runs/")


class BucketRights(NamedTuple):
    """The prefixes that a role may read, write and delete under. A ``*`` stands for an id."""

    read: tuple[str, ...] = _EVERYTHING
    write: tuple[str, ...] = ()
    delete: tuple[str, ...] = ()


ROLES = {
    # Datasets may lie anywhere in the bucket: which project may read what is WORKER_PROJECTS_FILE's matter.
    "worker": BucketRights(
        write=(
            "active/", "admission/", "bugs/", "datasets/", "leases/", "models/", "quotas/", "quotes/", "receipts/",
            "tasks/", "tokens/", "waiting/", "woken/", *_TRIED,
        ),
        delete=("active/", "admission/", "leases/", "models/", "outbox/", "tasks/*/attempts/", "waiting/", *_TRIED),
    ),
    "trainer": BucketRights(write=("outbox/", "tasks/*/attempts/")),
    "platform": BucketRights(read=("datasets/", "models/", "uploads/"), write=("uploads/",)),
    # A replay that is not dry does what a worker does: who wants it there gives the console the worker's rights, too.
    "console": BucketRights(write=("dead-letters/", "uploads/", *_TRIED), delete=_TRIED),
    "operator": BucketRights(write=("base-models/", "dead-letters/", "refs/", "uploads/", *_TRIED), delete=_TRIED),
}  # fmt: skip


def policy(role: str, storage_url: str) -> dict[str, Any]:
    """Return an identity's policy, as AWS and S3 servers that know IAM read it.

    Raises SettingsError where the bucket is no S3 bucket.
    """
    if not storage_url.startswith("s3://"):
        raise SettingsError(f"WORKER_STORAGE_URL is {storage_url!r}: only a bucket in S3 (s3://bucket) has a policy")
    bucket, _, folder = storage_url.removeprefix("s3://").strip("/").partition("/")
    root = f"{folder}/" if folder else ""
    granted = ROLES[role]._asdict()
    statements = [_listing(bucket, root)]
    statements += [_objects(right, bucket, root, prefixes) for right, prefixes in granted.items() if prefixes]
    return {"Version": "2012-10-17", "Statement": statements}


def _listing(bucket: str, root: str) -> dict[str, Any]:
    statement: dict[str, Any] = {
        "Sid": "List", "Effect": "Allow", "Action": [LIST], "Resource": [f"arn:aws:s3:::{bucket}"],
    }  # fmt: skip
    if root:
        # A question for one object names no prefix.
        statement["Condition"] = {"StringLikeIfExists": {"s3:prefix": [f"{root}*"]}}
    return statement


def _objects(right: str, bucket: str, root: str, prefixes: Sequence[str]) -> dict[str, Any]:
    resources = [f"arn:aws:s3:::{bucket}/{root}{prefix}*" for prefix in prefixes]
    return {"Sid": right.capitalize(), "Effect": "Allow", "Action": list(ACTIONS[right]), "Resource": resources}
