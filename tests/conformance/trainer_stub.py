"""Stands in for a trainer: a process that tests hold by files. Run with the path of its spec, or with the spec itself
in the variable TRAINER_JOB_SPEC; standard library only.

It reports itself in ``$CONTROL/<job>.started`` (one line a start: its pid, and some variables) and ends when
``$CONTROL/<job>.release`` says with which code. On SIGTERM it prints ``saved`` and ends with 0, unless its spec's plan
says ``stubborn``.
"""

import json
import os
import signal
import sys
import time
from pathlib import Path


def save_and_end(*_: object) -> None:
    os.write(1, b"saved\n")
    os._exit(0)


spec = json.loads(Path(sys.argv[1]).read_text() if sys.argv[1:] else os.environ["TRAINER_JOB_SPEC"])
control = Path(os.environ["CONTROL"])
name = f"{spec['job_id']}.{spec['attempt']}"
stubborn = spec["plan_key"] == "stubborn"
signal.signal(signal.SIGTERM, signal.SIG_IGN if stubborn else save_and_end)
os.write(1, "开始\n".encode())
with (control / f"{name}.started").open("a") as started:
    seen = [os.environ.get(name, "-") for name in ("OMP_NUM_THREADS", "OMP_WAIT_POLICY", "CUDA_VISIBLE_DEVICES")]
    started.write(f"{os.getpid()} {' '.join(seen)}\n")
release = control / f"{name}.release"
while not release.exists():
    time.sleep(0.01)
sys.exit(int(release.read_text()))
