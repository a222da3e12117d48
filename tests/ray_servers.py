"""Whether tests get a real Ray: a head of this machine, see ``deploy/local/ray.py``."""

from deploy.local.ray import ray_binary
from deploy.local.server_process import ServerMissing


def possible() -> bool:
    """Return whether Ray can run here."""
    try:
        ray_binary()
    except ServerMissing:
        return False
    return True


def description() -> str:
    """Return what a run says of its Ray."""
    if not possible():
        return "none; `make ray` installs it into an environment of its own"
    return "a head of this machine, with GPUs that are none"
