"""The trainer without torch of the chaos rounds, which halts after the step that a file names.

``HALTING_TRAINER_FILE`` names the file. Everything but the training is the real trainer's: its process, its events,
its bucket, its end.
"""

import os
import sys
import time
import types
from pathlib import Path

from contracts.task import Progress
from contracts.training import Checkpoint
from handlers.planning.plan import Plan
from handlers.ports import JobSpec
from tests.e2e.chaos import stand_in
from worker.trainer.__main__ import main
from worker.trainer.bucket import Bucket
from worker.trainer.fence import Fence
from worker.trainer.progress import Reporter

VARIABLE = "HALTING_TRAINER_FILE"


def train(spec: JobSpec, plan: Plan, bucket: Bucket, fence: Fence, reporter: Reporter, scratch: Path) -> None:
    """Train, and halt after the step until the file names another."""
    said = reporter.saved

    def halting(progress: Progress | None, checkpoint: Checkpoint) -> None:
        said(progress, checkpoint)
        while checkpoint.step >= int(Path(os.environ[VARIABLE]).read_text()):
            time.sleep(0.02)  # another process says when to go on

    reporter.saved = halting  # type: ignore[method-assign]  # so that the chaos rounds' trainer need not know of it
    stand_in.train(spec, plan, bucket, fence, reporter, scratch)


if __name__ == "__main__":
    module = types.ModuleType("worker.trainer.run")
    module.train = train  # type: ignore[attr-defined]  # in place of the module that imports torch
    sys.modules["worker.trainer.run"] = module
    sys.exit(main(sys.argv[1:]))
