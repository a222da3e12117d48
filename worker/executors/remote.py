"""What engines on other machines have in common: a job's name, and what its trainer is told.

A trainer is told its job, and every setting that is no secret and no path of ours.
"""

import hashlib
import re

import msgspec

from handlers.ports import JobSpec
from worker.settings import Settings

#: The environment variable that holds a job's spec, as JSON.
SPEC_VARIABLE = "TRAINER_JOB_SPEC"

#: Settings that engines never see: they show a job's environment to whoever may look at the job. Trainers get these
#: from the machines they run on, as the worker does.
_OF_THE_MACHINE = frozenset(
    {
        "WORKER_KAFKA_USERNAME",
        "WORKER_KAFKA_PASSWORD",
        "WORKER_KAFKA_TOKEN_FILE",
        "WORKER_KAFKA_CA_FILE",
        "WORKER_KAFKA_CERT_FILE",
        "WORKER_KAFKA_KEY_FILE",
        "WORKER_WORK_DIR",
        "WORKER_MODELS_FILE",
        "WORKER_PRICES_FILE",
        "WORKER_EXECUTORS_FILE",
        "WORKER_RAY_TOKEN_FILE",
        "WORKER_KUBERNETES_POD_FILE",
    }
)

_KAFKA = "WORKER_KAFKA_"


def trainer_environment(settings: Settings, spec: JobSpec) -> dict[str, str]:
    """Return the environment variables of a job on another machine. Pure; the same job always has the same."""
    # Who does not speak over Kafka need not know where it is.
    over_kafka = settings.trainer_events == "kafka"
    shared = {
        name: value
        for name, value in settings.to_environment().items()
        if name not in _OF_THE_MACHINE and (over_kafka or not name.startswith(_KAFKA))
    }
    return shared | {SPEC_VARIABLE: msgspec.json.encode(spec).decode()}


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
    return hashlib.sha256(msgspec.json.encode(spec)).hexdigest()
