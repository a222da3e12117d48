"""What must be set before torch and transformers are imported. Imports neither."""

import os
import sys
import warnings

from worker.trainer.ranks import started

#: Nothing is fetched from anywhere: what a job needs is in the bucket.
OFFLINE = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_DATASETS_OFFLINE", "HF_HUB_DISABLE_TELEMETRY")


def prepare() -> None:
    """Switch the Hub off and set what was not set: threads that wait must not burn the cores others need.

    ``OMP_NUM_THREADS`` and ``OMP_WAIT_POLICY`` of the caller hold. A process that is alone trains on one GPU, the first
    of those it was given; one of several on that of its number. May be called twice.
    """
    for name in OFFLINE:
        os.environ[name] = "1"
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    if not sys.stderr.isatty():
        # What does not end in a terminal is a log, and a bar that moves is a line of hundreds there.
        os.environ.setdefault("TQDM_DISABLE", "1")
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    if not started():
        os.environ["CUDA_VISIBLE_DEVICES"] = os.environ.get("CUDA_VISIBLE_DEVICES", "0").split(",")[0]
    # peft asks transformers under a name that the next major version drops; both are pinned below it.
    warnings.filterwarnings("ignore", message=".*is_gradient_checkpointing", category=FutureWarning)
