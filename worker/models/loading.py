"""Having a model loaded, and its probe repeated, in a process that has the trainer's libraries and nothing to lose."""

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

import msgspec
from msgspec import Struct

from worker.settings import Settings

#: Seconds for loading a model and asking it a few sentences, on a slow disk.
_PATIENCE_SECONDS = 3600.0
#: What of a process' last words is shown.
_SHOWN = 300


class Loaded(Struct, frozen=True, kw_only=True):
    """What became of it. ``difference`` is the largest of a value; ``faults`` are for people.

    ``unloadable`` and ``differs`` are the model's fault; with ``no-base`` and ``not-tried`` nothing is known of it.
    """

    outcome: Literal["repeated", "differs", "unloadable", "no-base", "not-tried"]
    difference: float | None = None
    faults: tuple[str, ...] = ()


def can_load() -> bool:
    """Return whether the extra ``trainer`` is installed. Imports nothing."""
    return all(find_spec(name) is not None for name in ("torch", "transformers", "peft", "sentence_transformers"))


def load(folder: Path, settings: Settings, *, base: Path | None, base_prefix: str | None) -> Loaded:
    """Have the model in a folder loaded. Its base, where it is an adapter, is a folder or a prefix of the bucket.

    Never raises for what the model does. Blocks: seconds, or minutes for a large one.
    """
    if not can_load():
        return Loaded(outcome="not-tried", faults=("the extra trainer is not installed",))
    command = [sys.executable, "-m", "worker.trainer.repeat_probe", str(folder)]
    command += ["--base", str(base)] if base else ["--base-prefix", base_prefix] if base_prefix else []
    # The process is ours, and the model's files are data to it: no code of theirs is run.
    try:
        done = subprocess.run(  # noqa: S603 - the reason is above
            command,
            env=os.environ | settings.to_environment(),
            capture_output=True,
            check=False,
            timeout=_PATIENCE_SECONDS,
        )
        return msgspec.json.decode(done.stdout, type=Loaded)
    except subprocess.TimeoutExpired:
        return Loaded(outcome="not-tried", faults=(f"it took longer than {_PATIENCE_SECONDS:.0f} s",))
    except msgspec.MsgspecError:
        last = done.stderr.decode(errors="replace").strip()[-_SHOWN:]
        return Loaded(outcome="not-tried", faults=(f"the process ended with {done.returncode}: {last}",))
