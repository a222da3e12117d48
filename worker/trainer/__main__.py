"""``python -m worker.trainer [SPEC.json]``: train one job. Settings come from WORKER_* variables.

Without an argument the spec itself is in the variable TRAINER_JOB_SPEC: engines on other machines share no files with
us. A job with several GPUs gets a process each, on each of the machines that an engine started it on; under torchrun
each of its processes is one of them.
"""

import os
import signal
import sys
import threading
from contextlib import nullcontext
from pathlib import Path

import msgspec

from handlers.ports.jobs import JobSpec
from worker.executors.remote import SPEC_VARIABLE
from worker.settings import Settings, SettingsError
from worker.telemetry import configure_logging
from worker.traces.training import run_of
from worker.trainer import environment
from worker.trainer.event_sink import EventSink
from worker.trainer.job import Ending, run_job
from worker.trainer.launch import launch
from worker.trainer.progress import Silence
from worker.trainer.ranks import Machine, Rank, started

USAGE = 2


def main(arguments: list[str]) -> int:
    """Run one job and return its exit code: 0 done or stopped, 1 failed, 2 cannot be begun, 3 superseded."""
    given = os.environ.get(SPEC_VARIABLE)
    if len(arguments) > 1 or (not arguments and given is None):
        return _refused(f"usage: python -m worker.trainer SPEC.json, or the spec in {SPEC_VARIABLE}")
    try:
        rank, machine = Rank.of_environment(), Machine.of_environment()
        body = Path(arguments[0]).read_bytes() if arguments else (given or "").encode()
        spec = msgspec.json.decode(body, type=JobSpec)
        settings = Settings.from_environment()
    except (OSError, ValueError, msgspec.MsgspecError, SettingsError) as error:
        return _refused(str(error))
    here = max(1, spec.resources.gpus)
    if here * machine.size > 1 and not started():
        return launch((sys.executable, "-m", "worker.trainer", *arguments), here, machine=machine)
    try:
        sink = EventSink.of(settings, spec) if rank.first else None
    except SettingsError as error:
        return _refused(str(error))
    configure_logging(settings.log_format, settings.log_level)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    environment.prepare()
    with sink or nullcontext(Silence()) as speaking, run_of(spec, seen=rank.first) as run:
        ending = run_job(run.spec, settings, speaking, stop, rank)
        run.ended(ending.name.lower(), failed=ending is Ending.FAILED)
        return int(ending)


def _refused(text: str) -> int:
    sys.stderr.write(text + "\n")
    return USAGE


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
