"""The GPUs of this machine, and which of them each slot of the local executor has."""

import contextlib
import os
import subprocess
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

VISIBLE = "CUDA_VISIBLE_DEVICES"
#: Every GPU that nvidia-smi may see, one a line. Without it the driver's own list, which in a container is the host's.
_COMMAND = ("nvidia-smi", "--query-gpu=index", "--format=csv,noheader")
_DRIVER = Path("/proc/driver/nvidia/gpus")
_SECONDS = 20.0


def visible_gpus(environment: Mapping[str, str] | None = None) -> tuple[str, ...]:
    """Return the GPUs that jobs may use, each as CUDA_VISIBLE_DEVICES names it. Asks nvidia-smi once; may block.

    Where CUDA_VISIBLE_DEVICES is set for this process, jobs get of these and no others.
    """
    given = (os.environ if environment is None else environment).get(VISIBLE)
    return tuple(map(str, range(_count()))) if given is None else _listed(given)


def gpus_of(slots: Sequence[int], gpus: Sequence[str]) -> tuple[str, ...]:
    """Return the GPUs of slots, each once. Where there are more slots than GPUs, several slots share one. Pure."""
    return tuple(dict.fromkeys(gpus[slot % len(gpus)] for slot in slots)) if gpus else ()


def chosen(free: Sequence[int], wanted: int, gpus: Sequence[str]) -> tuple[int, ...] | None:
    """Return so many of the free slots, no two with the same GPU where there are any; None: not enough. Pure."""
    if gpus:
        free = list({slot % len(gpus): slot for slot in reversed(free)}.values())
    return tuple(sorted(free)[:wanted]) if len(free) >= wanted else None


def _listed(given: str) -> tuple[str, ...]:
    """Return the devices of CUDA_VISIBLE_DEVICES; as for CUDA itself, the first that is none ends the list."""
    devices: list[str] = []
    for device in (each.strip() for each in given.split(",")):
        if not device or device.startswith("-"):
            break
        devices.append(device)
    return tuple(devices)


@cache
def _count() -> int:
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        said = subprocess.run(_COMMAND, capture_output=True, text=True, timeout=_SECONDS, check=True)  # noqa: S603 - fixed
        return len(said.stdout.split())
    return len(list(_DRIVER.iterdir())) if _DRIVER.is_dir() else 0
