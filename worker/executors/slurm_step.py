"""What a Slurm job runs: ``python -m worker.executors.slurm_step JOB_FOLDER COMMAND...``. Standard library only.

It looks after the trainer as the local executor's supervisor does, and then ends as the trainer ended, so that Slurm's
own records say the same as the folder.
"""

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from worker.executors.job_supervisor import EXIT, read, supervise
from worker.first_counts import end_like

#: Exit code of a job that did not run, because another copy of it has begun or it was cancelled first: the trainer's
#: own for an attempt that does not count.
NOT_RUN = 3


def main(arguments: Sequence[str]) -> int:
    """Run the command to its end, once in the folder's life; return its exit code, or die of the signal it died of."""
    folder = Path(arguments[0])
    # The node's own disk, where the cluster says which that is: base models and checkpoints do not belong onto a folder
    # that all nodes share.
    temporary = os.environ.get("TMPDIR")
    scratch = Path(temporary) / f"{folder.name}-scratch" if temporary and Path(temporary).is_dir() else None
    if not supervise(folder, arguments[1:], os.open(os.devnull, os.O_WRONLY), scratch):
        sys.stderr.write("this attempt has begun before: a job runs once, whatever its engine does\n")
        return NOT_RUN
    code = (read(folder / EXIT) or {}).get("exit_code")
    if code is None:
        return NOT_RUN
    return end_like(int(code))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
