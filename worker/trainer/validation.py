"""The validation set of a run, and how it is measured."""

from dataclasses import dataclass

import torch

from worker.trainer.token_file import TokenView
from worker.trainer.weighted import IGNORED, WeightedCollator, weighted_sum


@dataclass(frozen=True)
class Validation:
    """Samples that are measured, never trained on."""

    samples: TokenView
    batch_size: int
    pad_id: int
    bf16: bool

    @torch.no_grad()
    def loss(self, model: torch.nn.Module) -> float | None:
        """Return the mean weighted loss a trained token, over all samples together; None where there are none.

        Changes nothing: neither the model, which is in training mode again afterwards, nor any random number generator.
        """
        collate, device = WeightedCollator(self.pad_id), next(model.parameters()).device
        total, items = 0.0, 0
        model.eval()
        try:
            for start in range(0, len(self.samples), self.batch_size):
                end = min(start + self.batch_size, len(self.samples))
                rows = [self.samples[index] for index in range(start, end)]
                batch = {name: tensor.to(device) for name, tensor in collate(rows).items()}
                with torch.autocast(device.type, torch.bfloat16, enabled=self.bf16):
                    logits = model(batch["input_ids"], attention_mask=batch["attention_mask"], use_cache=False).logits
                total += weighted_sum(logits, batch["labels"], batch["loss_weights"]).item()
                items += int((batch["labels"] != IGNORED).sum())
        finally:
            model.train()
        return total / items if items else None
