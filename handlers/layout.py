"""Where everything is in the bucket. Names of objects under an attempt's own prefix are the trainer's.

::

    receipts/<stage>/<version>/<business key>.json   what a stage decided, and the events it said
    datasets/<dataset_id>/current.json               the newest import and its verdict
    datasets/<dataset_id>/pins/<event>.json          the ETags that the event of an import found first
    datasets/<dataset_id>/imports/<digest>.json      when an import that does not say so was first seen
    datasets/<dataset_id>/<digest>/report.json       the report on these bytes; findings.ndjson beside it
    tokens/<content digest>/<tokenizer digest>.json  token counts of a file; beside them, where some are too long for
                                                     the model, .too-long.ndjson: the findings on these samples;
                                                     .rows: what the draw knows of each of its samples
    tasks/<task_id>/form.json                        the form that won
    tasks/<task_id>/state.json                       the one mutable object of a task (If-Match only)
    tasks/<task_id>/draft.json                       the newest import that carried a draft of this task
    tasks/<task_id>/estimate.json                    the newest estimate of this task's fee; for an import without a
                                                     task under datasets/<dataset_id>/
    tasks/<task_id>/plan.json                        what is trained, with which data
    tasks/<task_id>/fates-<digest>.parquet           what becomes of every line of the plan's datasets
    tasks/<task_id>/attempts/<n>/                    spec, checkpoints and outputs; only attempt n writes here, and of
                                                     its processes only the one that runner.json names
    tasks/<task_id>/attempts/<n>/last-word.json      how the attempt ended, as its trainer said it
    outbox/<task_id>/<n>/<first>-<last>.json         events of attempt n that a worker is to publish and then delete
    waiting/<dataset_id>/<task_id>                   this task waits for this dataset
    woken/<dataset_id>/<event>.json                  the tasks that waited when this event of a verdict came
    active/<shard>/<task_id>                         the reconciler looks after this task
    admission/<shard>/<project>/<time>.<task_id>     the task's attempt waits for a quota; the time is its submission's
    quotas/ledger.json                               which attempts were granted, and what projects use today
    leases/<job>/<worker>                            this worker shares a job, as long as it changes this object
    dead-letters/<letter id>.json                    what an operator did about a dead letter
    bugs/<stage>/<topic>/<partition>.json            events given up on for a bug, and whether the stage stopped there
    quotes/<quote_id>.json                           a quote as it was first made, and what it is about
    models/<model_id>/                               the model repository; manifest.json is written last
    refs/<project>/<name>                            which of a project's models a name means now (If-Match only)
    base-models/<name>/<version>/                    foundation models: weights, tokenizer, chat template
"""

from datetime import UTC, datetime, timedelta
from hashlib import sha256

import msgspec

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def segment(name: str) -> str:
    """Return an id as one safe path segment: an id may be ``..``, a segment may not."""
    return "%2E" + name[1:] if name.startswith(".") else name


def digest(*parts: object) -> str:
    """Return the SHA-256 (hex) of values, as canonical JSON. Equal values give equal digests anywhere."""
    return sha256(msgspec.json.encode(parts, order="sorted")).hexdigest()


def receipt(stage: str, version: str, business_key: str) -> str:
    """Return the key of a receipt. ``version`` is ``-`` for stages that have none."""
    return f"receipts/{stage}/{version}/{'/'.join(segment(part) for part in business_key.split('/'))}.json"


def dataset_current(dataset_id: str) -> str:
    """Return the key of a dataset's newest import."""
    return f"datasets/{segment(dataset_id)}/current.json"


def dataset_pins(dataset_id: str, event_id: str) -> str:
    """Return the key of the files of an import as its event first found them."""
    return f"datasets/{segment(dataset_id)}/pins/{digest(event_id)}.json"


def dataset_import(dataset_id: str, stated_digest: str) -> str:
    """Return the key of the time of an import that does not state one; the digest is of what it does state."""
    return f"datasets/{segment(dataset_id)}/imports/{stated_digest}.json"


def dataset_report(dataset_id: str, content_digest: str) -> str:
    """Return the key of the report on these bytes."""
    return f"datasets/{segment(dataset_id)}/{content_digest}/report.json"


def is_dataset_report(key: str) -> bool:
    """Return whether a key is that of a report on a dataset's bytes."""
    return key.startswith("datasets/") and key.endswith("/report.json")


def dataset_findings(dataset_id: str, content_digest: str) -> str:
    """Return the key of the full list of findings (NDJSON) on these bytes."""
    return f"datasets/{segment(dataset_id)}/{content_digest}/findings.ndjson"


def tokens(content_digest: str, tokenizer_digest: str) -> str:
    """Return the key of the token counts of these bytes under this tokenizer and template."""
    return f"tokens/{content_digest}/{tokenizer_digest}.json"


def too_long(content_digest: str, tokenizer_digest: str) -> str:
    """Return the key of the findings (NDJSON) on samples that are too long for this tokenizer's model."""
    return f"tokens/{content_digest}/{tokenizer_digest}.too-long.ndjson"


def sample_rows(content_digest: str, tokenizer_digest: str) -> str:
    """Return the key of the rows of a file's samples, see handlers/planning/sample_rows.py."""
    return f"tokens/{content_digest}/{tokenizer_digest}.rows"


def task(task_id: str, name: str) -> str:
    """Return the key of one of a task's objects: form, state, draft, plan."""
    return f"tasks/{segment(task_id)}/{name}.json"


def fates(task_id: str, fates_digest: str) -> str:
    """Return the key of the table of what becomes of every line; another draw never overwrites a plan's own."""
    return f"tasks/{segment(task_id)}/fates-{fates_digest[:32]}.parquet"


def attempt(task_id: str, number: int) -> str:
    """Return the prefix that only this attempt writes under, with its final slash."""
    return f"tasks/{segment(task_id)}/attempts/{number}/"


def attempt_spec(task_id: str, number: int) -> str:
    """Return the key of what an attempt's trainer is told: it is there once the attempt was to be submitted."""
    return attempt(task_id, number) + "spec.json"


def last_word(task_id: str, number: int) -> str:
    """Return the key of how an attempt ended, in its own words."""
    return attempt(task_id, number) + "last-word.json"


def outbox(task_id: str | None = None, number: int = 0) -> str:
    """Return the prefix of an attempt's events that wait to be published; without a task, of all attempts'."""
    return f"outbox/{segment(task_id)}/{number}/" if task_id else "outbox/"


def outbox_batch(task_id: str, number: int, first_seq: int, last_seq: int) -> str:
    """Return the key of an attempt's events from one seq to another; their keys are in the order of their events."""
    return f"{outbox(task_id, number)}{first_seq:010}-{last_seq:010}.json"


def outbox_owner(key: str) -> tuple[str, int]:
    """Return the task and the attempt whose events are under a key; attempt 0, that is nobody's, for any other key."""
    parts = key.split("/")
    if len(parts) != 4 or not parts[2].isdecimal():
        return name_of(parts[1]), 0
    return name_of(parts[1]), int(parts[2])


def runner(task_id: str, number: int) -> str:
    """Return the key of which process has an attempt."""
    return attempt(task_id, number) + "runner.json"


def waiting(dataset_id: str, task_id: str = "") -> str:
    """Return the marker that a task waits for a dataset; without a task, the prefix of all that do."""
    return f"waiting/{segment(dataset_id)}/{segment(task_id)}"


def woken(dataset_id: str, event_id: str) -> str:
    """Return the key of the tasks that an event of a dataset's verdict found waiting."""
    return f"woken/{segment(dataset_id)}/{digest(event_id)}.json"


#: Into so many shards the tasks that need looking after are divided: the most workers that share the sweeps.
ACTIVE_SHARDS = 16


def active(task_id: str) -> str:
    """Return the marker that a task needs looking after."""
    return active_shard(_shard(task_id)) + segment(task_id)


def _shard(task_id: str) -> int:
    return int(sha256(task_id.encode()).hexdigest()[0], 16)


def active_shard(shard: int | None = None) -> str:
    """Return the prefix of the tasks of a shard that need looking after; without a shard, of all that do."""
    return "active/" if shard is None else f"active/{shard:x}/"


def active_task(key: str) -> str:
    """Return whose marker a key is."""
    return name_of(key.rpartition("/")[2])


#: The model repository, with its final slash.
MODELS = "models/"

#: Where the mutable names of models are.
REFS = "refs/"

#: What projects use of their quotas.
QUOTA_LEDGER = "quotas/ledger.json"


def admission(task_id: str, project: str, submitted_at: datetime) -> str:
    """Return the key of a task's attempt that waits for a quota. In a project their order is that of submission."""
    micros = (submitted_at - _EPOCH) // timedelta(microseconds=1)
    return f"{admission_shard(_shard(task_id))}{segment(project)}/{micros:020}.{task_id}"


def admission_shard(shard: int | None = None) -> str:
    """Return the prefix of the tasks of a shard that wait for a quota; without a shard, of all that do."""
    return "admission/" if shard is None else f"admission/{shard:x}/"


def member(job: str, worker: str = "") -> str:
    """Return the object of a worker that shares a job; without a worker, the prefix of all that do."""
    return f"leases/{job}/{worker}"


def bug_limit(stage: str, topic: str = "", partition: int = 0) -> str:
    """Return the key of a stage's bugs in a partition; without a topic, the prefix of all of the stage's."""
    return f"bugs/{stage}/{topic}/{partition}.json" if topic else f"bugs/{stage}/"


def estimate(task_id: str | None, dataset_id: str) -> str:
    """Return the key of the newest estimate of a task's fee, or of a dataset's where it is for no task."""
    return task(task_id, "estimate") if task_id else f"datasets/{segment(dataset_id)}/estimate.json"


def quote(quote_id: str) -> str:
    """Return the key of a quote."""
    return f"quotes/{segment(quote_id)}.json"


def letter_note(letter_id: str) -> str:
    """Return the key of what an operator did about a dead letter."""
    return f"dead-letters/{segment(letter_id)}.json"


def model(model_id: str) -> str:
    """Return a model's prefix in the repository, with its final slash."""
    return f"{MODELS}{segment(model_id)}/"


def ref(project: str, name: str) -> str:
    """Return the key of a name of one of a project's models."""
    return f"{REFS}{segment(project)}/{segment(name)}"


def exported_model(prefix: str) -> str | None:
    """Return the id of the model in the repository that a prefix of a base leads into; None for any other prefix."""
    folder, _, rest = prefix.partition("/")
    return name_of(rest.partition("/")[0]) if folder == "models" and rest else None


def base_name(prefix: str, name: str, version: str) -> str:
    """Return what a base is called: the id of an exported model where its prefix leads into one, else name@version."""
    return exported_model(prefix) or f"{name}@{version}"


def base_model(name: str, version: str) -> str:
    """Return the prefix of a foundation model that we provide, with its final slash."""
    return f"base-models/{name}/{version}/"


def name_of(segment_: str) -> str:
    """Return the id a segment was made of."""
    return "." + segment_[3:] if segment_.startswith("%2E") else segment_


def sha256_hex(body: bytes) -> str:
    """Return the SHA-256 of bytes, in hex."""
    return sha256(body).hexdigest()
