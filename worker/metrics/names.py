"""Every metric of a worker: one name for each signal. docs/METRICS.md says the same to people; a test keeps it so."""

from typing import Literal, NamedTuple


class Metric(NamedTuple):
    """A metric as Prometheus sees it. A histogram's series have its name and ``_bucket``, ``_sum`` or ``_count``."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    labels: tuple[str, ...]
    meaning: str


INFO = Metric("finetune_worker_info", "gauge", ("version",), "Always 1; which version runs.")
LIVE = Metric("finetune_worker_live", "gauge", (), "What /live answers: 1 where a restart would not help, else 0.")
READY = Metric("finetune_worker_ready", "gauge", (), "What /ready answers: 1 where the worker does its work, else 0.")

STATE = Metric(
    "finetune_worker_stage_state", "gauge", ("stage", "state"),
    "1 for the state the stage is in, 0 for the others: idle, working, waiting, stopped, stuck, unreachable.",
)  # fmt: skip
BEHIND = Metric(
    "finetune_worker_records_behind", "gauge", ("stage",),
    "Records on the broker that are not taken in yet, of this worker's partitions; looked at every five seconds.",
)  # fmt: skip
TAKEN_IN = Metric("finetune_worker_records_taken_in_total", "counter", ("stage",), "Records taken in.")
UNFINISHED = Metric(
    "finetune_worker_records_unfinished", "gauge", ("stage",),
    "Records taken in and not finished: nothing is committed past them.",
)  # fmt: skip
LANE_DEPTH = Metric("finetune_worker_lane_depth", "gauge", ("stage",), "Records in lanes: in work, or next in line.")
WAITING = Metric("finetune_worker_records_waiting", "gauge", ("stage",), "Records that wait for their due time.")
OVERDUE = Metric(
    "finetune_worker_oldest_overdue_seconds", "gauge", ("stage",),
    "How long the oldest record taken in could have been done: since its due time, or since it was published.",
)  # fmt: skip

PAUSED = Metric(
    "finetune_worker_partitions_paused", "gauge", ("stage", "reason"),
    "Partitions nothing is taken from, by reason: bugs, spread, unfinished.",
)  # fmt: skip

HANDLING = Metric(
    "finetune_worker_handling_seconds", "histogram", ("stage",),
    "From the handler's start until its follow-ons are acknowledged; a run that is folded counts once.",
)  # fmt: skip
EVENTS = Metric("finetune_worker_events_total", "counter", ("stage", "outcome"), "Events processed, by outcome.")
RETRIES = Metric(
    "finetune_worker_retries_total", "counter", ("stage", "meaning"),
    "Failures that are tried again, by what they mean: unavailable, transient, bug.",
)  # fmt: skip
POSTPONED = Metric("finetune_worker_postponed_total", "counter", ("stage",), "Events put into a delay topic.")
DEAD_LETTERS = Metric(
    "finetune_worker_dead_letters_total", "counter", ("stage", "reason"), "Dead letters, by the reason in their header."
)  # fmt: skip
RECEIPTS = Metric(
    "finetune_worker_receipts_total", "counter", ("stage", "result"),
    "Receipts asked for: found, made, or lost to another worker that was first.",
)  # fmt: skip

PUBLISHED = Metric("finetune_worker_published_total", "counter", ("topic",), "Messages acknowledged, by topic.")
PUBLISHING = Metric(
    "finetune_worker_publish_seconds", "histogram", (),
    "From handing messages to the producer until all of them are acknowledged.",
)  # fmt: skip
PUBLISH_FAILURES = Metric(
    "finetune_worker_publish_failures_total", "counter", (), "Publishings that the broker did not acknowledge."
)  # fmt: skip
SUBMITS = Metric(
    "finetune_worker_submits_total", "counter", ("executor", "result"),
    "Jobs handed to an executor, repeated ones of the same attempt too: accepted or failed.",
)  # fmt: skip

METRICS = tuple(each for each in list(globals().values()) if isinstance(each, Metric))
