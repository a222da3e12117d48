"""Settings: one Struct, read from ``WORKER_*`` environment variables, each with a default that works on one machine."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta, Struct


class SettingsError(ValueError):
    """A setting that cannot be used; the text names the variable and the remedy."""


class Settings(Struct, frozen=True, kw_only=True):
    """Everything that can be set. Field ``storage_url`` is variable ``WORKER_STORAGE_URL``, and so on."""

    #: Kafka brokers, comma-separated ``host:port``. ``KAFKA_BOOTSTRAP_SERVERS`` is read too.
    kafka_bootstrap_servers: str = "localhost:9092"
    #: Consumer groups are named ``<prefix>.<stage>``.
    group_prefix: str = "finetune-worker"
    #: Seconds without a heartbeat after which a worker's partitions go to others. Kafka allows 6 and more by default.
    session_timeout_seconds: Annotated[float, Meta(gt=0)] = 10.0
    #: The bucket: ``file:///path`` (one machine, several processes) or ``s3://bucket``.
    storage_url: str = Path(".worker/bucket").absolute().as_uri()
    #: S3 endpoint for servers other than AWS. Credentials come from the usual AWS variables or files.
    s3_endpoint_url: str | None = None
    #: Where local jobs live: their pids, logs and scratch files.
    work_dir: Path = Path(".worker")
    #: Jobs the local executor runs at a time.
    local_slots: Annotated[int, Meta(ge=1)] = 1
    #: The model catalogue and the price table (TOML); the shipped ones where not set.
    models_file: Path | None = None
    prices_file: Path | None = None
    #: Seconds between the import's own time and the estimate.
    estimate_delay_seconds: Annotated[float, Meta(ge=0)] = 5.0
    #: Infrastructure faults after which a task fails.
    retry_limit: Annotated[int, Meta(ge=0)] = 3
    #: Seconds between two sweeps of the reconciler, and without a heartbeat after which its lease may be taken.
    reconcile_seconds: Annotated[float, Meta(gt=0)] = 5.0
    lease_seconds: Annotated[float, Meta(gt=0)] = 15.0
    #: Seconds a job may be gone without a word before it counts as lost: its last event may still be on its way.
    lost_job_seconds: Annotated[float, Meta(gt=0)] = 10.0
    #: Seconds a cancelled job has to save a checkpoint.
    cancel_grace_seconds: Annotated[float, Meta(ge=0)] = 30.0
    #: Seconds between two looks of a trainer at its task's state.
    heartbeat_seconds: Annotated[float, Meta(gt=0)] = 5.0
    #: Handlers run at a time in this process, and records read ahead of the slowest a partition.
    concurrency: Annotated[int, Meta(ge=1)] = 64
    spread_limit: Annotated[int, Meta(ge=1)] = 10_000
    #: Processes for scanning and tokenising.
    cpu_workers: Annotated[int, Meta(ge=1)] = max(1, (os.cpu_count() or 2) - 1)
    #: Seconds a stop waits for running handlers.
    drain_seconds: Annotated[float, Meta(ge=0)] = 20.0
    #: Seconds a rebalance waits for running handlers of a partition that goes to another worker.
    revoke_grace_seconds: Annotated[float, Meta(ge=0)] = 5.0
    #: ``json`` or ``console``.
    log_format: str = "json"
    log_level: str = "info"

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None) -> "Settings":
        """Read the settings. Raises SettingsError naming the variable that cannot be used, or that does not exist."""
        given = os.environ if environment is None else environment
        values: dict[str, str] = {}
        if "KAFKA_BOOTSTRAP_SERVERS" in given:
            values["kafka_bootstrap_servers"] = given["KAFKA_BOOTSTRAP_SERVERS"]
        known = set(cls.__struct_fields__)
        for variable, value in given.items():
            if not variable.startswith("WORKER_"):
                continue
            field = variable.removeprefix("WORKER_").lower()
            if field not in known:
                raise SettingsError(f"{variable} is not a setting; known are {', '.join(sorted(known))}")
            values[field] = value
        try:
            return msgspec.convert(values, cls, strict=False, dec_hook=lambda kind, value: kind(value))
        except msgspec.ValidationError as error:
            raise SettingsError(f"a WORKER_ variable cannot be used: {error}") from error

    def to_environment(self) -> dict[str, str]:
        """Return the settings as environment variables, for a child process that must see the same."""
        fields = msgspec.to_builtins(self, enc_hook=str)
        return {f"WORKER_{name.upper()}": str(value) for name, value in fields.items() if value is not None}
