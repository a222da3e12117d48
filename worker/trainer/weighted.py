"""Training with a float weight a token: the collator, the loss, and a Trainer that uses them."""

from collections.abc import Sequence
from typing import Any

import torch
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader
from transformers import Trainer

from worker.trainer.dataset import EpochSampler
from worker.trainer.token_file import Tokens

IGNORED = -100

Batch = dict[str, torch.Tensor]


class WeightedCollator:
    """Pads samples on the right. Labels are IGNORED where the weight is 0 and at position 0, which nothing predicts.

    Counts the tokens it has handed out in ``tokens``.
    """

    def __init__(self, pad_id: int) -> None:
        self.pad_id = pad_id
        self.tokens = 0

    def __call__(self, samples: Sequence[Tokens]) -> Batch:
        """Return ``input_ids``, ``attention_mask``, ``labels`` and ``loss_weights``, each (samples, longest sample)."""
        shape = (len(samples), max(len(sample.ids) for sample in samples))
        ids = torch.full(shape, self.pad_id, dtype=torch.long)
        mask = torch.zeros(shape, dtype=torch.long)
        weights = torch.zeros(shape, dtype=torch.float32)
        for row, sample in enumerate(samples):
            length = len(sample.ids)
            ids[row, :length] = torch.tensor(sample.ids, dtype=torch.long)
            weights[row, 1:length] = torch.tensor(sample.weights[1:], dtype=torch.float32)
            mask[row, :length] = 1
            self.tokens += length
        labels = ids.masked_fill(weights == 0, IGNORED)
        return {"input_ids": ids, "attention_mask": mask, "labels": labels, "loss_weights": weights}


def weighted_sum(logits: torch.Tensor, labels: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Return sum(weight x cross-entropy) over the trained tokens of a batch.

    ``logits`` are (samples, length, vocabulary); the token at a position is predicted by the logits before it. Computed
    in float32, and only where a token is trained: most of a batch's logits are not needed.
    """
    trained = labels[:, 1:] != IGNORED
    losses = cross_entropy(logits[:, :-1][trained].float(), labels[:, 1:][trained], reduction="none")
    return (losses * weights[:, 1:][trained]).sum()


class WeightedTrainer(Trainer):
    """loss = sum(weight x cross-entropy) / number of trained tokens, exact over accumulated and distributed batches."""

    def __init__(self, *, sampler: EpochSampler, **arguments: Any) -> None:
        super().__init__(**arguments)
        self._sampler = sampler
        # Makes the Trainer count the labels of all batches of a step and hand the number to compute_loss,
        # which divides by it: nothing is to be divided again by the number of batches.
        self.model_accepts_loss_kwargs = True
        self.loss_is_scaled_for_ga = True

    def compute_loss(
        self,
        model: torch.nn.Module,
        inputs: Batch,
        return_outputs: bool = False,
        num_items_in_batch: torch.Tensor | int | None = None,
    ) -> Any:
        """Return the loss of a batch, as its part of the whole step's."""
        # A cache only takes memory in training.
        outputs = model(input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"], use_cache=False)
        labels = inputs["labels"]
        items = (labels[:, 1:] != IGNORED).sum() if num_items_in_batch is None else num_items_in_batch
        items = torch.as_tensor(items, device=labels.device).clamp(min=1)
        loss = weighted_sum(outputs.logits, labels, inputs["loss_weights"]) / items
        if num_items_in_batch is not None and self.args.average_tokens_across_devices:
            # The number is of all processes together, and their gradients are averaged.
            loss = loss * self.accelerator.num_processes
        return (loss, outputs) if return_outputs else loss

    def get_train_dataloader(self) -> DataLoader[Any]:
        """Return the batches of an epoch, in our order."""
        samples: Any = self.train_dataset
        loader: DataLoader[Any] = DataLoader(
            samples,
            batch_size=self.args.per_device_train_batch_size,
            sampler=self._sampler,
            collate_fn=self.data_collator,
        )
        prepared: DataLoader[Any] = self.accelerator.prepare(loader)
        return prepared
