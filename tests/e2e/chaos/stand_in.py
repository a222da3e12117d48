"""A trainer without torch: the real one's process, fence, events and bucket, with steps that only take time.

It leaves a checkpoint a step, goes on from one, and leaves one output. ``runs/<task>/<attempt>/`` in the bucket counts
the processes that began to train, for the verdict.
"""

import json
import sys
import time
import types
from pathlib import Path
from uuid import uuid4

from contracts.task import Progress
from contracts.training import Checkpoint, Output
from handlers.planning.plan import Plan
from handlers.ports.jobs import JobSpec
from worker.trainer.__main__ import main
from worker.trainer.bucket import Bucket
from worker.trainer.converter import Converter
from worker.trainer.fence import Fence, Interrupted, Standing
from worker.trainer.progress import Reporter

STEPS = 6
STEP_SECONDS = 0.15


def train(
    spec: JobSpec, _plan: Plan, bucket: Bucket, fence: Fence, reporter: Reporter, _scratch: Path, _converter: Converter
) -> None:
    """Do what ``worker.trainer.run.train`` does, as far as anybody else can see."""
    bucket.put(f"runs/{spec.task_id}/{spec.attempt}/{uuid4().hex}", b"began")
    done, checkpoint = 0, None
    if spec.resume_from:
        done = int(json.loads(bucket.get(spec.resume_from.rstrip("/") + "/complete.json") or b"{}")["step"])
    for step in range(done + 1, STEPS + 1):
        fence.check()
        if fence.standing is not Standing.RUN:
            raise Interrupted(checkpoint)
        time.sleep(STEP_SECONDS)  # this is the work
        progress = Progress(step=step, total_steps=STEPS, loss=1.0 / step)
        prefix = f"{spec.attempt_prefix}checkpoints/step-{step}/"
        bucket.put(prefix + "complete.json", json.dumps({"step": step}).encode())
        checkpoint = Checkpoint(step=step, uri=bucket.uri(prefix))
        reporter.saved(progress, checkpoint)
    prefix = f"{spec.attempt_prefix}outputs/step-{STEPS}/"
    weights = bucket.put(prefix + "model.safetensors", f"weights of {spec.task_id}".encode())
    file = type(weights)("model.safetensors", weights.size_bytes, weights.sha256)
    reporter.succeeded(
        Progress(step=STEPS, total_steps=STEPS, loss=1.0 / STEPS),
        (Output(step=STEPS, uri=bucket.uri(prefix), kind="adapter", files=(file,), loss=1.0 / STEPS),),
    )


if __name__ == "__main__":
    stand_in = types.ModuleType("worker.trainer.run")
    stand_in.train = train  # type: ignore[attr-defined]  # in place of the module that imports torch
    sys.modules["worker.trainer.run"] = stand_in
    sys.exit(main(sys.argv[1:]))
