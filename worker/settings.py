"""Settings: one Struct, read from ``WORKER_*`` environment variables, each with a default that works on one machine."""

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, get_type_hints

import msgspec
from msgspec import Meta, Struct

from worker.could_not import CouldNot
from worker.variables import PREFIX, Unknown, unknown_among, value_of

#: Seconds, a day at the most: anything longer is a slip, and far longer ones no clock can hold.
Seconds = Annotated[float, Meta(ge=0, le=86_400)]
Period = Annotated[float, Meta(gt=0, le=86_400)]

_SERVER = r"([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?"
Servers = Annotated[str, Meta(pattern=f"^{_SERVER}(,{_SERVER})*$", description="host:port, or several with commas")]
#: Without a user or a password: URLs are said in logs, and some to trainers, whose engines show them to everybody.
Url = Annotated[
    str,
    Meta(
        pattern=r"^https?://[^/@]+(/.*)?$", description="a URL that begins with http:// or https:// and names no user"
    ),
]


class SettingsError(CouldNot, ValueError):
    """Settings that cannot be used; the text names each variable and the remedy."""


class Settings(Struct, frozen=True, kw_only=True):
    """Everything that can be set. Field ``storage_url`` is variable ``WORKER_STORAGE_URL``, and so on."""

    #: Kafka brokers, comma-separated ``host:port``. ``KAFKA_BOOTSTRAP_SERVERS`` is read too.
    kafka_bootstrap_servers: Servers = "localhost:9092"
    #: What the brokers' listener speaks. TLS: whom their certificate is from (the system's authorities where not set),
    #: and this worker's own certificate where they ask for one.
    kafka_security_protocol: Literal["plaintext", "ssl", "sasl_plaintext", "sasl_ssl"] = "plaintext"
    kafka_ca_file: Path | None = None
    kafka_cert_file: Path | None = None
    kafka_key_file: Path | None = None
    #: SASL: a user with its password, itself or in a file, or for OAUTHBEARER a file with a token that something else
    #: keeps fresh.
    kafka_sasl_mechanism: Literal["plain", "scram-sha-256", "scram-sha-512", "oauthbearer"] = "scram-sha-512"
    kafka_username: str | None = None
    kafka_password: str | None = None
    kafka_password_file: Path | None = None
    kafka_token_file: Path | None = None
    #: Consumer groups are named ``<prefix>.<stage>``.
    group_prefix: str = "finetune-worker"
    #: A name that this worker keeps over restarts, and no other has (a StatefulSet's pod name). With it a restart
    #: within the session's timeout moves no partition to another worker and back.
    instance_id: Annotated[str, Meta(pattern=r"^[A-Za-z0-9._-]{1,200}$")] | None = None
    #: Seconds without a heartbeat after which a worker's partitions go to others. Kafka allows 6 to 1,800 by default.
    session_timeout_seconds: Annotated[float, Meta(ge=1, le=1800)] = 10.0
    #: The bucket: ``file:///path`` (one machine, several processes) or ``s3://bucket``.
    storage_url: str = Path(".worker/bucket").absolute().as_uri()
    #: S3 endpoint for servers other than AWS. Credentials come from the usual AWS variables or files.
    s3_endpoint_url: Url | None = None
    #: Where local jobs live: their pids, logs and scratch files.
    work_dir: Path = Path(".worker")
    #: What tells apart the jobs of deployments that share an engine; one that follows from the bucket where not set.
    #: Workers of one deployment must have the same. Jobs under another one are not found any more.
    job_namespace: Annotated[str, Meta(pattern=r"^[a-z0-9]([-a-z0-9]{0,38}[a-z0-9])?$")] | None = None
    #: Which executor serves which task, and with what (TOML); everything on ``local`` where not set.
    executors_file: Path | None = None
    #: Jobs of one GPU that the local executor runs at a time; one a GPU of the machine, at least 1, where not set.
    local_slots: Annotated[int, Meta(ge=1)] | None = None
    #: Slurm: the folder with the jobs' folders, which workers and nodes see under one path; partition and account, the
    #: cluster's defaults where not set; the interpreter on the nodes; more options of sbatch (``--qos=high``).
    slurm_jobs_dir: Path | None = None
    slurm_partition: str | None = None
    slurm_account: str | None = None
    slurm_python: str = sys.executable
    slurm_options: str = ""
    #: Ray: where the head's dashboard is, which answers for jobs, and a file with the token it asks for, read at each
    #: request. The path is this machine's.
    ray_address: Url | None = None
    ray_token_file: Path | None = None
    #: Kubernetes, reached as kubectl does: the namespace of the jobs (the account's own where not set), the trainer's
    #: image, a Secret whose keys become its environment, the runtime of jobs on several nodes (Kubeflow), and a file
    #: (YAML) with more of a pod's spec: tolerations, a node selector, volumes.
    kubernetes_namespace: Annotated[str, Meta(pattern=r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$")] | None = None
    kubernetes_image: str | None = None
    kubernetes_secret: str | None = None
    kubernetes_runtime: str = "torch-distributed"
    kubernetes_pod_file: Path | None = None
    #: Which files each project may read, how much it may use, and for how many days its models are kept (TOML); all of
    #: this platform's bucket, as much as its engines give, and for good where not set.
    projects_file: Path | None = None
    #: The model catalogue and the price table (TOML); the shipped ones where not set.
    models_file: Path | None = None
    prices_file: Path | None = None
    #: Seconds between the import's own time and the estimate.
    estimate_delay_seconds: Seconds = 5.0
    #: Bytes of a dataset from which on its fee is said as an interval first, from a sample, and then exactly.
    estimate_sample_bytes: Annotated[int, Meta(ge=0)] = 32 << 20
    #: Seconds for which a quote's price holds, whatever the price table says by then; a year at the most.
    quote_valid_seconds: Annotated[float, Meta(ge=0, le=31_536_000)] = 86_400.0
    #: Seconds between two writes of a task's progress: the steps in between are folded into one write and one status.
    #: Checkpoints, and what ends a run, wait for nothing. 0: every event as soon as there is a place for it. Never more
    #: than half of ``lost_job_seconds`` is used.
    progress_seconds: Seconds = 5.0
    #: How often a task is tried again after infrastructure faults: it fails at the next one. A task keeps the limit it
    #: was submitted under.
    retry_limit: Annotated[int, Meta(ge=0)] = 3
    #: Dead letters for bugs (not for poison) a partition in so many seconds, above which its stage stops there until
    #: ``worker dead-letters allow``.
    bug_limit: Annotated[int, Meta(ge=1)] = 20
    bug_window_seconds: Period = 3600.0
    #: Seconds between two sweeps of the reconciler, and without a heartbeat after which others take a worker's share.
    reconcile_seconds: Period = 5.0
    lease_seconds: Period = 15.0
    #: Seconds a job may be gone without a word before it counts as lost: its last event may still be on its way.
    lost_job_seconds: Period = 10.0
    #: Seconds a running job may do no step before its task's status says ``stalled``; and before it is given up and
    #: tried again: never where not set.
    stalled_seconds: Period = 1800.0
    stalled_retry_seconds: Period | None = None
    #: Seconds between two changes of a queued task's place that are said.
    queue_position_seconds: Period = 30.0
    #: Seconds between two looks at all jobs of the executors: what runs for no task any more is ended, and what ended
    #: with its task is forgotten after a while.
    orphan_seconds: Period = 60.0
    job_retention_seconds: Annotated[float, Meta(ge=0, le=31_536_000)] = 604_800.0
    #: Seconds between two looks for models whose time is over.
    retention_sweep_seconds: Period = 3600.0
    #: Seconds a cancelled job has to save a checkpoint.
    cancel_grace_seconds: Seconds = 30.0
    #: Seconds between two looks of a trainer at its task's state.
    heartbeat_seconds: Period = 5.0
    #: How trainers say their events: over Kafka, and while it does not answer over the bucket; or over the bucket alone
    #: (each heartbeat), for trainers that cannot reach Kafka. A worker takes them from there.
    trainer_events: Literal["kafka", "bucket"] = "kafka"
    #: For tasks that ask for a GGUF file: where llama.cpp's ``convert_hf_to_gguf.py`` is (they get none where not set),
    #: and the seconds it may take for each kept output, which are part of the job's time. Both are read where trainers
    #: run: engines on other machines do not pass them on.
    gguf_converter: Path | None = None
    gguf_seconds: Period = 900.0
    #: Handlers run at a time in this process, and records read ahead of the slowest a partition.
    concurrency: Annotated[int, Meta(ge=1, le=10_000)] = 64
    spread_limit: Annotated[int, Meta(ge=1)] = 10_000
    #: Processes for scanning large datasets, and as many for tokenising them; each started when first needed. One more
    #: of either kind is for small ones alone.
    cpu_workers: Annotated[int, Meta(ge=1)] = max(1, (os.cpu_count() or 2) - 1)
    #: Where ``/live``, ``/ready`` and ``/metrics`` are answered; nowhere where not set.
    health_port: Annotated[int, Meta(ge=0, le=65_535)] | None = None
    #: Seconds a stage may work without finishing anything before it counts as stuck.
    stuck_seconds: Period = 1800.0
    #: Seconds a stop waits for running handlers.
    drain_seconds: Seconds = 20.0
    #: Seconds a rebalance waits for running handlers of a partition that goes to another worker. The others wait too,
    #: and the client gives up after 40.
    revoke_grace_seconds: Annotated[float, Meta(ge=0, le=30)] = 5.0
    #: One JSON object a line, or lines for people.
    log_format: Literal["json", "console"] = "json"
    log_level: Literal["debug", "info", "warning", "error", "critical"] = "info"

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None) -> "Settings":
        """Read the settings. Raises SettingsError naming every variable that cannot be used.

        Variables that are no settings are left alone, see :meth:`unknown`: other programs may have set them.
        """
        given = os.environ if environment is None else environment
        variables = {field: _variable(field) for field in cls.__struct_fields__}
        if variables["kafka_bootstrap_servers"] not in given:
            variables["kafka_bootstrap_servers"] = "KAFKA_BOOTSTRAP_SERVERS"
        return cls(**values_of(given, variables, get_type_hints(cls, include_extras=True)))

    @classmethod
    def unknown(cls, environment: Mapping[str, str] | None = None) -> list[Unknown]:
        """Return the ``WORKER_`` variables that are no settings, each with the one that was probably meant."""
        given = os.environ if environment is None else environment
        return unknown_among(given, map(_variable, cls.__struct_fields__))

    def group_of(self, stage: str) -> str:
        """Return the name of a stage's consumer group."""
        return f"{self.group_prefix}.{stage}"

    def __repr__(self) -> str:
        shown = {name: getattr(self, name) for name in self.__struct_fields__}
        shown |= {"kafka_password": "***"} if self.kafka_password else {}
        return f"Settings({', '.join(f'{name}={value!r}' for name, value in shown.items())})"

    def to_environment(self) -> dict[str, str]:
        """Return the settings as environment variables, for a child process that must see the same."""
        fields = msgspec.to_builtins(self, enc_hook=str)
        return {_variable(name): str(value) for name, value in fields.items() if value is not None}


def values_of(environment: Mapping[str, str], variables: Mapping[str, str], kinds: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of the fields whose variables are set. ``variables`` names each field's, ``kinds`` its type.

    Raises:
        SettingsError: naming every variable that cannot be used.
    """
    values, faults = {}, []
    for field, variable in variables.items():
        if variable not in environment:
            continue
        try:
            values[field] = value_of(environment[variable], kinds[field])
        except ValueError as error:
            faults.append(f"{variable} {error}")
    if faults:
        raise SettingsError("; ".join(faults))
    return values


def _variable(field: str) -> str:
    return PREFIX + field.upper()
