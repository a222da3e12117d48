"""Run a program that ends when its parent does, also when the parent is killed.

``python tied_process.py PARENT_PID PROGRAM ARG...``. A file of its own because the tie must be made in the
child, and Python code between fork and exec may deadlock in a parent with threads. It is run by path, so
nothing of the project is imported.
"""

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def tie() -> tuple[str, ...]:
    """Return what stands before a command, whose program is a path, for it to end when this process does."""
    return (sys.executable, "-I", "-S", __file__, str(os.getpid()))


def main() -> None:
    """Tie this process to its parent, then become the program.

    There is no tie on other systems than Linux.
    """
    parent, program = int(sys.argv[1]), sys.argv[2]
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    # The parent may have died before the tie was made; no signal would come any more.
    if os.getppid() == parent:
        os.execv(program, sys.argv[2:])  # noqa: S606 - no shell is wanted: the arguments are passed as they are


if __name__ == "__main__":
    main()
