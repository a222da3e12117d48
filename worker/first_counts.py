"""Processes that do one job together, of which the first counts: it alone is told to end, and its end is the job's.

Standard library only: the first process of a job on several machines needs no more than this.
"""

import contextlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import Sequence

#: Seconds that the first process has to say why, where another one has failed: it sees that at their next meeting.
GRACE_SECONDS = 60.0
_LOOK_SECONDS = 0.1


def code_of_first(running: Sequence[subprocess.Popen[bytes]], grace_seconds: float = GRACE_SECONDS) -> int:
    """Wait for the first process and return its exit code, minus the signal where one killed it.

    SIGTERM and SIGINT are passed on to it alone. Where another one has failed, it is killed after the grace. What the
    others do after its end is the caller's matter.
    """
    first, *others = running
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda number, _: _pass_on(first, number))
    failed_at: float | None = None
    while (code := first.poll()) is None:
        if failed_at is None and any(process.poll() for process in others):
            failed_at = time.monotonic()
        if failed_at is not None and time.monotonic() - failed_at > grace_seconds:
            first.kill()
        time.sleep(_LOOK_SECONDS)
    return code


def end_like(code: int) -> int:
    """Return an exit code as Popen has it, or die of the signal that it says."""
    if code < 0:
        with contextlib.suppress(OSError):  # SIGKILL has no handler
            signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    return code


def free_port() -> int:
    """Return a port of this machine that is free now."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return int(listening.getsockname()[1])


def _pass_on(process: subprocess.Popen[bytes], number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        process.send_signal(number)
