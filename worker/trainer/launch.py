"""A job on several GPUs: a process each, which find each other as those of torchrun do.

Not torchrun itself: it answers a SIGTERM, and an end of one process, by ending all of them within seconds, and with an
exit code of its own. Here the first process is told alone, agrees with the others on a step, and its exit code holds.
"""

import os
import subprocess
from collections.abc import Sequence

from worker import tied_process
from worker.first_counts import GRACE_SECONDS, code_of_first, free_port
from worker.trainer.ranks import Machine

ALONE = Machine()


def launch(
    command: Sequence[str], processes: int, grace_seconds: float = GRACE_SECONDS, *, machine: Machine = ALONE
) -> int:
    """Run a command in so many processes and return the exit code of the first; 128 + signal where one killed it.

    SIGTERM and SIGINT are passed on to the first. When it has ended, the others are killed; when this process is
    killed, all are. On each of several machines it is called with the same number of processes.
    """
    port = machine.port or free_port()
    running = [_started(command, number, processes, machine, port) for number in range(processes)]
    try:
        code = code_of_first(running, grace_seconds)
    finally:
        for process in running:
            process.kill()
            process.wait()
    return code if code >= 0 else 128 - code


def _started(
    command: Sequence[str], number: int, processes: int, machine: Machine, port: int
) -> subprocess.Popen[bytes]:
    place = {
        "RANK": machine.number * processes + number,
        "LOCAL_RANK": number,
        "WORLD_SIZE": machine.size * processes,
        "LOCAL_WORLD_SIZE": processes,
        "GROUP_RANK": machine.number,
        "MASTER_ADDR": machine.address,
        "MASTER_PORT": port,
    }
    threads = max(1, (os.cpu_count() or 1) // processes)
    environment = {"OMP_NUM_THREADS": str(threads), **os.environ, **{name: str(value) for name, value in place.items()}}
    return subprocess.Popen((*tied_process.tie(), *command), env=environment)  # noqa: S603 - the trainer itself
