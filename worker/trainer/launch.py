"""A job on several GPUs of a machine: a process each, which find each other as those of torchrun do.

Not torchrun itself: it answers a SIGTERM, and an end of one process, by ending all of them within seconds, and with an
exit code of its own. Here the first process is told alone, agrees with the others on a step, and its exit code holds.
"""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress

from worker import tied_process

#: Seconds that the first process has to say why, where another one has failed: it sees that at their next meeting.
GRACE_SECONDS = 60.0
_LOOK_SECONDS = 0.1


def launch(command: Sequence[str], processes: int, grace_seconds: float = GRACE_SECONDS) -> int:
    """Run a command in so many processes and return the exit code of the first; 128 + signal where one killed it.

    SIGTERM and SIGINT are passed on to the first. When it has ended, the others are killed; when this process is
    killed, all are.
    """
    port = free_port()
    running = [_started(command, number, processes, port) for number in range(processes)]
    for signum in (signal.SIGTERM, signal.SIGINT):
        signal.signal(signum, lambda number, _: _pass_on(running[0], number))
    try:
        code = _code_of_first(running, grace_seconds)
    finally:
        for process in running:
            process.kill()
            process.wait()
    return code if code >= 0 else 128 - code


def _started(command: Sequence[str], number: int, processes: int, port: int) -> subprocess.Popen[bytes]:
    place = {
        "RANK": number,
        "LOCAL_RANK": number,
        "WORLD_SIZE": processes,
        "LOCAL_WORLD_SIZE": processes,
        "GROUP_RANK": 0,
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": port,
    }
    threads = max(1, (os.cpu_count() or 1) // processes)
    environment = {"OMP_NUM_THREADS": str(threads), **os.environ, **{name: str(value) for name, value in place.items()}}
    tie = (sys.executable, "-I", "-S", tied_process.__file__, str(os.getpid()))
    return subprocess.Popen((*tie, *command), env=environment)  # noqa: S603 - the trainer itself


def _code_of_first(running: Sequence[subprocess.Popen[bytes]], grace_seconds: float) -> int:
    failed_at: float | None = None
    while (code := running[0].poll()) is None:
        if failed_at is None and any(process.poll() for process in running):
            failed_at = time.monotonic()
        if failed_at is not None and time.monotonic() - failed_at > grace_seconds:
            running[0].kill()
        time.sleep(_LOOK_SECONDS)
    return code


def _pass_on(process: subprocess.Popen[bytes], number: int) -> None:
    with suppress(ProcessLookupError):
        process.send_signal(number)


def free_port() -> int:
    """Return a port of this machine that is free now."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return int(listening.getsockname()[1])
