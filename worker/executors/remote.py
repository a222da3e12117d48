"""What engines on other machines have in common: a job's name, and what its trainer is told.

A trainer is told its job, and the few settings it reads: no secret, and no path of the worker's machine.
"""

import hashlib
import re

import msgspec

from handlers.ports.jobs import JobSpec
from worker.settings import Settings

#: The environment variable that holds a job's spec, as JSON.
SPEC_VARIABLE = "TRAINER_JOB_SPEC"
#: The environment variable that says where in a trace a job was begun, as other programs read it too.
TRACE_VARIABLE = "TRACEPARENT"

#: The settings that a trainer reads and its machine does not know. No others leave the worker: engines show a job's
#: environment to whoever may look at the job. Users, passwords and certificates trainers get from the machines they
#: run on, as the worker does.
_TOLD = frozenset(
    {
        "WORKER_STORAGE_URL",
        "WORKER_S3_ENDPOINT_URL",
        "WORKER_HEARTBEAT_SECONDS",
        "WORKER_TRAINER_EVENTS",
        "WORKER_LOG_FORMAT",
        "WORKER_LOG_LEVEL",
    }
)
_TOLD_OVER_KAFKA = frozenset(
    {"WORKER_KAFKA_BOOTSTRAP_SERVERS", "WORKER_KAFKA_SECURITY_PROTOCOL", "WORKER_KAFKA_SASL_MECHANISM"}
)


def trainer_environment(settings: Settings, spec: JobSpec) -> dict[str, str]:
    """Return the environment variables of a job on another machine. Pure; the same job always has the same."""
    # Who does not speak over Kafka need not know where it is.
    told = _TOLD | _TOLD_OVER_KAFKA if settings.trainer_events == "kafka" else _TOLD
    shared = {name: value for name, value in settings.to_environment().items() if name in told}
    return shared | {SPEC_VARIABLE: msgspec.json.encode(spec).decode()} | traced(spec)


def traced(spec: JobSpec) -> dict[str, str]:
    """Return the environment variable of a job's place in a trace; none where it has no place. Pure."""
    return {TRACE_VARIABLE: spec.traceparent} if spec.traceparent else {}


def engine_name(owner: str, job_id: str, attempt: int) -> str:
    """Return what a job is called on engines that allow lower-case letters, digits and hyphens alone. Pure.

    No two jobs share a name, though ids may have more characters than it: it ends in a digest. ``owner`` tells apart
    the services that share an engine. At most 41 characters, up to attempt 9,999; it begins with a letter.
    """
    readable = re.sub(r"[^a-z0-9]+", "-", job_id.lower())[:16].strip("-")
    digest = hashlib.sha256(msgspec.json.encode((owner, job_id, attempt))).hexdigest()[:16]
    return "-".join(filter(None, ("ft", readable, str(attempt), digest)))


def spec_digest(spec: JobSpec) -> str:
    """Return what tells two specs apart, in hex: engines keep it beside the job, to refuse another under its name."""
    return hashlib.sha256(msgspec.json.encode(spec.job)).hexdigest()
