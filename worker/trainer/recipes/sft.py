"""sft: the assistant's turns, each token with its weight."""

from collections.abc import Sequence
from typing import Any

import torch

from worker.trainer.cross_entropy import labels_of, padded, trained_tokens, weighted_sum
from worker.trainer.recipes.language import LanguageRecipe, logits_of
from worker.trainer.recipes.recipe import Batch
from worker.trainer.token_file import Row


class SftRecipe(LanguageRecipe):
    """loss = sum(weight x cross-entropy) / number of trained tokens."""

    def collate(self, rows: Sequence[Row]) -> Batch:
        """Return ``input_ids``, ``attention_mask``, ``labels`` and ``loss_weights``, each (rows, longest row)."""
        batch = padded([row.sequences[0] for row in rows], self.pad_id)
        batch["labels"] = labels_of(batch)
        return batch | {"items": trained_tokens(batch["labels"])}

    def loss(self, model: Any, batch: Batch) -> torch.Tensor:
        """Return sum(weight x cross-entropy) over the trained tokens."""
        return weighted_sum(logits_of(model, batch), batch["labels"], batch["loss_weights"])
