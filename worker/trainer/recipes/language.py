"""What recipes for language models share."""

from pathlib import Path

import torch

from worker.trainer.models import load_base, pad_id_of, with_adapter
from worker.trainer.recipes.recipe import Recipe


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
