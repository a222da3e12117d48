"""What sbatch is told of a job: its script and its options. Pure."""

import math
import shlex
from collections.abc import Mapping, Sequence

from handlers.ports.jobs import JobSpec
from worker.executors.slurm_folder import JobFolder


def batch_script(
    folder: JobFolder, environment: Mapping[str, str], python: str, command: Sequence[str], nodes: int = 1
) -> str:
    """Return the script that runs a command under the job's supervisor, on each node of the job."""
    told = {"PYTHONUNBUFFERED": "1", **environment}
    if nodes > 1:
        command = (python, "-m", "worker.executors.slurm_nodes", str(nodes), *command)
    step = (python, "-m", "worker.executors.slurm_step", str(folder.path), *command)
    lines = (
        # A login shell: paths, modules and credentials are the machine's.
        "#!/bin/bash -l",
        # sbatch leaves its --export in it, which would keep all of this from what the trainer starts with srun.
        "unset SLURM_EXPORT_ENV",
        *(f"export {name}={shlex.quote(value)}" for name, value in told.items()),
        f"exec {shlex.join(step)}",
    )
    return "\n".join(lines) + "\n"


def batch_options(spec: JobSpec, folder: JobFolder, namespace: str) -> list[str]:
    """Return sbatch's options for a job: its name for people, its folder and what it needs."""
    needs = spec.resources
    log = str(folder.log_path).replace("%", "%%")  # Slurm replaces % in the names of files
    options = [
        f"--job-name=finetune-{spec.job_id}.{spec.attempt}{namespace and f'@{namespace}'}",
        f"--chdir={folder.path}",
        f"--output={log}",
        "--open-mode=append",
        f"--nodes={needs.nodes}",
        "--ntasks-per-node=1",
    ]
    if needs.gpus:
        options.append(f"--gres=gpu:{needs.gpus}")
    if needs.time_limit_seconds is not None:
        options.append(f"--time={math.ceil(needs.time_limit_seconds / 60)}")  # minutes
    return options
