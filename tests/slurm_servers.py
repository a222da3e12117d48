"""Whether tests get a real Slurm: as processes of this machine, see ``deploy/local/slurm.py``."""

import os
import shutil

from deploy.local.slurm import PROGRAMS


def possible() -> bool:
    """Return whether Slurm can run here."""
    return os.geteuid() == 0 and all(map(shutil.which, PROGRAMS))


def description() -> str:
    """Return what a run says of its Slurm."""
    if not possible():
        return "none; that needs root and Debian's packages slurm-wlm and munge: make slurm"
    return "a controller and a node of this machine, with GPUs that are none"
