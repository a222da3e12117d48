"""The trainer without torch of the chaos rounds, which halts after the step that a file names.

``HALTING_TRAINER_FILE`` names the file. Everything but the training is the real trainer's: its process, its events,
its bucket, its end.
"""

import os
import sys
import time
import types
from collections.abc import Callable
from functools import wraps
from pathlib import Path

from contracts.task import Progress
from contracts.training import Checkpoint
from handlers.planning.plan import Plan
from handlers.ports.jobs import JobSpec
from tests.e2e.chaos import stand_in
from worker.trainer.__main__ import main
from worker.trainer.bucket import Bucket
from worker.trainer.converter import Converter
from worker.trainer.fence import Fence, Standing
from worker.trainer.progress import Reporter

VARIABLE = "HALTING_TRAINER_FILE"

Train = Callable[[JobSpec, Plan, Bucket, Fence, Reporter, Path, Converter], None]


def halting(train: Train) -> Train:
    """Return what trains as ``train`` does, and halts after a step until the file names another or it is to end.

    What is done of a step is done by then, and said: its checkpoint too.
    """

    @wraps(train)
    def halted(
        spec: JobSpec, plan: Plan, bucket: Bucket, fence: Fence, reporter: Reporter, scratch: Path, converter: Converter
    ) -> None:
        said = reporter.saved

        def saved(progress: Progress | None, checkpoint: Checkpoint) -> None:
            said(progress, checkpoint)
            while fence.standing is Standing.RUN and checkpoint.step >= int(Path(os.environ[VARIABLE]).read_text()):
                time.sleep(0.02)  # another process says when to go on

        reporter.saved = saved  # type: ignore[method-assign]  # so that no trainer need know of it
        train(spec, plan, bucket, fence, reporter, scratch, converter)

    return halted


if __name__ == "__main__":
    module = types.ModuleType("worker.trainer.run")
    module.train = halting(stand_in.train)  # type: ignore[attr-defined]  # in place of the module that imports torch
    sys.modules["worker.trainer.run"] = module
    sys.exit(main(sys.argv[1:]))
