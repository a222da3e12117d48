"""The stand-in for a trainer, with so many steps that a command arrives in the middle of them."""

import sys
import types

from tests.e2e.chaos import stand_in as trainer
from worker.trainer.__main__ import main

trainer.STEPS = 100
trainer.STEP_SECONDS = 0.1

if __name__ == "__main__":
    stand_in = types.ModuleType("worker.trainer.run")
    stand_in.train = trainer.train  # type: ignore[attr-defined]  # in place of the module that imports torch
    sys.modules["worker.trainer.run"] = stand_in
    sys.exit(main(sys.argv[1:]))
