"""What recipes for language models share."""

from pathlib import Path
from typing import Any

import torch

from worker.trainer.models import load_base, pad_id_of, with_adapter
from worker.trainer.recipes.recipe import Batch, Recipe


class LanguageRecipe(Recipe):
    """Trains a causal language model, whole or through an adapter."""

    pad_id = 0

    def load(self, folder: Path) -> None:
        """Load the base model, with a fresh adapter where the method is LoRA."""
        # What an adapter is on is not trained: half the memory, where the arithmetic is in bfloat16 anyway.
        halved = self.plan.method == "LoRA" and self.chosen.precision == "bf16"
        base = load_base(folder, torch.bfloat16 if halved else torch.float32)
        self.pad_id = pad_id_of(base)
        if self.chosen.gradient_checkpointing:
            base.activation_checkpointing_enable()
        if self.plan.method == "LoRA":
            self.model = with_adapter(base, self.chosen, self.plan.seed % 2**32)
        else:
            self.model = base


def logits_of(model: Any, batch: Batch) -> torch.Tensor:
    """Return the logits (rows, longest row, vocabulary) of a padded batch; those of its padding mean nothing.

    Its mask is left out: a token sees only those before it, and padding comes after them all. Told nothing, attention
    takes the kernel that knows so by itself and skips half of the work.
    """
    # A cache only takes memory in training.
    logits: torch.Tensor = model(input_ids=batch["input_ids"], use_cache=False).logits
    return logits
