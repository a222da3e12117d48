"""The executors: whether the file of rules holds, and whether every engine it names answers."""

import asyncio

from handlers.errors import Transient
from handlers.ports.executors import Executor
from worker.doctor.finding import Finding, ok, wrong
from worker.executors.configured import open_executors
from worker.settings import Settings, SettingsError

#: What to look at where an engine does not answer, a line for each of the registry.
REMEDIES = {
    "kubernetes": "kubectl auth can-i list jobs must say yes for this account; see WORKER_KUBERNETES_NAMESPACE",
    "local": "let this user read and write WORKER_WORK_DIR",
    "ray": "check WORKER_RAY_ADDRESS and WORKER_RAY_TOKEN_FILE, and that the head runs: curl its /api/version",
    "slurm": "squeue must work for this user on this machine: its commands on the PATH, its controller up",
}


async def check_engines(settings: Settings) -> list[Finding]:
    """Return whether each configured engine can be asked for its jobs. Creates nothing."""
    try:
        async with open_executors(settings) as executors:
            return list(await asyncio.gather(*map(_asked, executors.every())))
    except SettingsError as error:
        return [wrong("executors", str(error), "mend WORKER_EXECUTORS_FILE, or set what it names")]


async def _asked(executor: Executor) -> Finding:
    about = f"executor {executor.name}"
    try:
        jobs = await executor.jobs()
    except (Transient, OSError) as error:
        return wrong(about, str(error), REMEDIES[executor.name])
    return ok(about, f"answers; knows {len(jobs)} jobs of ours")
