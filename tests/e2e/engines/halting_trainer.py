"""``worker.trainer`` itself, which halts after the step that a file names: see tests/integration/halting_trainer.py."""

import sys

from tests.integration.halting_trainer import halting
from worker.trainer import environment
from worker.trainer.__main__ import main

if __name__ == "__main__":
    environment.prepare()
    from worker.trainer import run

    run.train = halting(run.train)  # type: ignore[assignment]  # it is called by position
    sys.exit(main(sys.argv[1:]))
