"""A job that kills another one: what Ray's REST API cannot do. It can stop a running job alone, with one fixed grace.

A killer runs on the head, needs no GPU and no code of ours, and outlives the worker that sent it.
"""

import math
import shlex
from typing import Any

from worker.executors.ray_state import KILLS, OWNER

#: Ends the process that looks after a job: a queued one then never starts, a running one is killed within a second.
#: Ray's names for it are the ones its own job manager looks it up by.
_PROGRAM = """\
import sys, time, ray
from ray.dashboard.modules.job.common import JOB_ACTOR_NAME_TEMPLATE, SUPERVISOR_ACTOR_RAY_NAMESPACE
name, when = sys.argv[1], time.monotonic() + float(sys.argv[2])
ray.init(address="auto", log_to_driver=False)
time.sleep(max(0, when - time.monotonic()))
try:
    looks_after = ray.get_actor(JOB_ACTOR_NAME_TEMPLATE.format(job_id=name), namespace=SUPERVISOR_ACTOR_RAY_NAMESPACE)
except ValueError:
    sys.exit(0)
ray.kill(looks_after)
"""


def killer(owner: str, name: str, after_seconds: float) -> dict[str, Any]:
    """Return the request for a job that kills another one after some seconds, if it is still there then. Pure.

    The same wish is the same job; a shorter one is another job beside it.
    """
    milliseconds = math.ceil(after_seconds * 1000)
    return {
        "submission_id": f"{name}-kill-{milliseconds}",
        "entrypoint": f"exec python -c {shlex.quote(_PROGRAM)} {name} {milliseconds / 1000}",
        "metadata": {OWNER: owner, KILLS: name},
    }
