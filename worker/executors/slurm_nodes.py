"""A Slurm job of several nodes: ``python -m worker.executors.slurm_nodes NODES COMMAND...``. Standard library only.

It runs under the job's supervisor, on the first node, and runs the command there and by one srun on each of the others.
The first node's counts: it alone is told to end, and its exit code is the job's. It is no task of srun because that
passes no SIGTERM on, but kills.

Each command is told by torchrun's variables which node it is on (GROUP_RANK, of GROUP_WORLD_SIZE) and where the first
one is met (MASTER_ADDR, MASTER_PORT); it starts the processes of its own node.
"""

import os
import subprocess
import sys
from collections.abc import Sequence

from worker.first_counts import code_of_first, end_like, free_port

#: Seconds that srun has to kill its tasks. What is left then ends with the batch job.
_END_SECONDS = 10.0
#: What a task of srun becomes: the address is that of the node where srun runs, as this one reached it.
_ELSEWHERE = 'export GROUP_RANK=$((SLURM_PROCID + 1)) MASTER_ADDR="$SLURM_LAUNCH_NODE_IPADDR"; exec "$@"'


def srun(nodes: int, command: Sequence[str]) -> list[str]:
    """Return what runs a command once on each node of the job but the first, and ends when one of them fails. Pure."""
    return [
        "srun",
        "--relative=1",
        f"--nodes={nodes - 1}",
        f"--ntasks={nodes - 1}",
        "--ntasks-per-node=1",
        "--input=none",
        # A node's processes share all of it.
        "--cpu-bind=none",
        "--kill-on-bad-exit=1",
        # By default Slurm may end the others some time after the first of them has ended.
        "--wait=0",
        *("sh", "-c", _ELSEWHERE, "sh", *command),
    ]


def main(arguments: Sequence[str]) -> int:
    """Run the command on every node to the end of the first; return its exit code, or die of the signal it died of."""
    nodes, command = int(arguments[0]), arguments[1:]
    shared = os.environ | {"GROUP_WORLD_SIZE": str(nodes), "MASTER_PORT": str(free_port())}
    first = subprocess.Popen(command, env=shared | {"GROUP_RANK": "0", "MASTER_ADDR": "127.0.0.1"})  # noqa: S603 - the operator's command
    others = subprocess.Popen(srun(nodes, command), env=shared)  # noqa: S603 - the same
    code = code_of_first([first, others])
    others.terminate()
    try:
        others.wait(_END_SECONDS)
    except subprocess.TimeoutExpired:
        others.kill()
    return end_like(code)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
