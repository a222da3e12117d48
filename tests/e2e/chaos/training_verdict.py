"""What must be true of the trainings of a round and of the models that came of them."""

from collections.abc import Sequence
from hashlib import sha256

import msgspec
from safetensors.numpy import load

from contracts.model import Manifest
from contracts.task import Phase
from handlers import layout
from handlers.manifests import MANIFEST
from tests.e2e.chaos.evidence import Evidence
from tests.e2e.chaos.troubles import Killed
from worker.executors.job_supervisor import SCRATCH


async def training_faults(evidence: Evidence, killed: Sequence[Killed]) -> list[str]:
    """Return everything that is not as it must be, of models and of trainers that were killed."""
    found: list[str] = []
    weights: dict[str, list[str]] = {}
    for task_id, state in (await evidence.states()).items():
        for said in {model.model_id: model for model in evidence.said("model.exported", task_id)}.values():
            manifest, wrong = await _manifest_of(evidence, said.model_id)
            found += wrong
            if manifest is None:
                continue
            if {manifest.step, said.step} != {evidence.kind.last_step}:
                found.append(f"{said.model_id} is of step {manifest.step}, the last is {evidence.kind.last_step}")
            if (manifest.task_id, manifest.attempt) != (task_id, state.promoted):
                found.append(f"{said.model_id} is of {manifest.task_id} attempt {manifest.attempt}")
            weights.setdefault(await _weights_digest(evidence, manifest), []).append(task_id)
    if evidence.kind.same_weights and len(weights) > 1:
        found.append(f"the same training ended with different weights: {sorted(weights.values())}")
    found += await _lost_steps(evidence, killed)
    found += await _job_faults(evidence)
    if evidence.kind.name == "real" and not resumed(evidence):
        found.append("no attempt went on from a checkpoint: the round has shown nothing of it")
    return found


def resumed(evidence: Evidence) -> list[str]:
    """Return the jobs that went on from a checkpoint; of the real trainer those that say so themselves."""
    jobs = [job for job in evidence.jobs() if job.resumed_step]
    if evidence.kind.name == "real":
        jobs = [job for job in jobs if any(began["step"] >= job.resumed_step for began in job.log("training.started"))]
    return [job.name for job in jobs]


async def _manifest_of(evidence: Evidence, model_id: str) -> tuple[Manifest | None, list[str]]:
    """Return a model's manifest, and which of its files are not what it says."""
    prefix = layout.model(model_id)
    stored = await evidence.store.get(prefix + MANIFEST)
    if stored is None:
        return None, [f"{model_id} has no manifest"]
    manifest = msgspec.json.decode(stored.body, type=Manifest)
    found = []
    for file in manifest.files:
        body = await evidence.store.get(prefix + file.path)
        if body is None:
            found.append(f"{model_id}: {file.path} is missing")
        elif (len(body.body), f"sha256:{sha256(body.body).hexdigest()}") != (file.size, file.digest):
            found.append(f"{model_id}: {file.path} is not what the manifest says")
    there = {key.removeprefix(prefix) for key in await evidence.keys(prefix)}
    found += [
        f"{model_id}: {name} is not in the manifest" for name in there - {f.path for f in manifest.files} - {MANIFEST}
    ]
    return manifest, found


async def _weights_digest(evidence: Evidence, manifest: Manifest) -> str:
    """Return the digest of a model's weights, by tensor: the same tensors may be written in another order."""
    if not evidence.kind.same_weights:
        return ""
    digest = sha256()
    for file in manifest.files:
        if file.path.endswith("model.safetensors"):
            stored = await evidence.store.get(layout.model(manifest.model_id) + file.path)
            assert stored is not None
            for name, tensor in sorted(load(stored.body).items()):
                digest.update(f"{file.path} {name} {tensor.dtype} {tensor.shape}".encode() + tensor.tobytes())
    return digest.hexdigest()


async def _job_faults(evidence: Evidence) -> list[str]:
    """Every attempt was a job: none was given up because something did not answer. And what ended left no litter."""
    states = await evidence.states()
    jobs = evidence.jobs()
    found = []
    for task_id in states.keys() & set(evidence.story.completed):
        submitted = [job.spec.attempt for job in jobs if job.spec.task_id == task_id]
        if submitted != list(range(1, states[task_id].attempt + 1)):
            found.append(f"{task_id} is at attempt {states[task_id].attempt} and had jobs for {submitted}")
    ended = [job for job in jobs if job.exit_code is not None]
    return found + [f"{job.name} left its temporary files" for job in ended if (job.folder / SCRATCH).exists()]


async def _lost_steps(evidence: Evidence, killed: Sequence[Killed]) -> list[str]:
    """A killed trainer's checkpoint is what the next attempt goes on from, unless the task was stopped meanwhile."""
    states = await evidence.states()
    jobs = evidence.jobs()
    found = []
    for job, step in killed:
        task_id, attempt = job.spec.task_id, job.spec.attempt
        # It may have been done when the signal came.
        if job.exit_code == 0 or states[task_id].phase is not Phase.COMPLETED:
            continue
        later = [other for other in jobs if other.spec.task_id == task_id and other.spec.attempt > attempt]
        if not later and states[task_id].promoted != attempt:
            found.append(f"{job.name} was killed, and no attempt came after it")
        found += [
            f"{one.name} began at step {one.resumed_step}, not {step}" for one in later[:1] if one.resumed_step < step
        ]
    return found
