"""The validation set of a run, and how it is measured."""

from dataclasses import dataclass
from typing import Any

import torch

from worker.trainer import collective
from worker.trainer.recipes import Recipe
from worker.trainer.recipes.recipe import Rows


@dataclass(frozen=True)
class Validation:
    """Rows that are measured, never trained on: the same batches, however many processes there are."""

    recipe: Recipe
    rows: Rows
    batch_size: int
    bf16: bool

    @torch.no_grad()
    def loss(self, model: Any) -> float | None:
        """Return the mean loss an item, over all rows together; None where there are none.

        The processes of a job share the work: all of them must call it, and all get the answer. Changes nothing:
        neither the model, which is in training mode again afterwards, nor any random number generator.
        """
        device = next(model.parameters()).device
        total = torch.zeros(2, dtype=torch.float64)
        model.eval()
        try:
            for start in range(0, len(self.rows), self.batch_size * collective.size()):
                total += self._measured(model, device, start + self.batch_size * collective.rank())
        finally:
            model.train()
        loss, items = collective.summed(total, device).tolist()
        return loss / items if items else None

    def _measured(self, model: Any, device: torch.device, start: int) -> torch.Tensor:
        rows = [self.rows[index] for index in range(start, min(start + self.batch_size, len(self.rows)))]
        if not rows:
            return torch.zeros(2, dtype=torch.float64)
        batch = {name: tensor.to(device) for name, tensor in self.recipe.collate(rows).items()}
        with torch.autocast(device.type, torch.bfloat16, enabled=self.bf16):
            loss = self.recipe.loss(model, batch)
        return torch.stack([loss.double().cpu(), batch["items"][0].double().cpu()])
