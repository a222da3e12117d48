"""An adapter and its base as one model: written as any other model is, so that all that loads models loads it."""

import shutil
from pathlib import Path
from typing import Any

from peft import PeftModel

from worker.trainer.model_files import TOKENIZER_FILES
from worker.trainer.models import load_base


def write_merged(base: Path, adapter: Path, target: Path) -> None:
    """Write the model that an adapter makes of its base into a new folder, in float32, with the adapter's tokenizer."""
    adapted: Any = PeftModel.from_pretrained(load_base(base), adapter)
    adapted.merge_and_unload(safe_merge=True).save_pretrained(target)
    for path in sorted(adapter.iterdir()):
        if TOKENIZER_FILES.fullmatch(path.name):
            shutil.copyfile(path, target / path.name)
