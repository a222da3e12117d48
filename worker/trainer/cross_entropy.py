"""Cross-entropy with a float weight a token, and the batches it is computed on."""

from collections.abc import Sequence

import torch
from torch.nn.functional import cross_entropy

from worker.trainer.token_file import Tokens

IGNORED = -100


def padded(sequences: Sequence[Tokens], pad_id: int) -> dict[str, torch.Tensor]:
    """Return sequences, padded on the right.

    ``input_ids``, ``attention_mask`` and ``loss_weights`` are (sequences, longest), ``work`` as in every batch.
    Nothing predicts position 0: its weight is 0.
    """
    shape = (len(sequences), max(len(sequence.ids) for sequence in sequences))
    ids = torch.full(shape, pad_id, dtype=torch.long)
    mask = torch.zeros(shape, dtype=torch.long)
    weights = torch.zeros(shape, dtype=torch.float32)
    for number, sequence in enumerate(sequences):
        length = len(sequence.ids)
        ids[number, :length] = torch.tensor(sequence.ids, dtype=torch.long)
        weights[number, 1:length] = torch.tensor(sequence.weights[1:], dtype=torch.float32)
        mask[number, :length] = 1
    work = work_of([len(sequence.ids) for sequence in sequences])
    return {"input_ids": ids, "attention_mask": mask, "loss_weights": weights, "work": work}


def work_of(lengths: Sequence[int]) -> torch.Tensor:
    """Return the ``work`` (2) of sequences of these lengths."""
    return torch.tensor([sum(lengths), sum(length**2 for length in lengths)])


def labels_of(batch: dict[str, torch.Tensor]) -> torch.Tensor:
    """Return a batch's ids as labels: IGNORED where the weight is 0."""
    return batch["input_ids"].masked_fill(batch["loss_weights"] == 0, IGNORED)


def trained_tokens(labels: torch.Tensor) -> torch.Tensor:
    """Return the number (1) of labels that are trained."""
    return (labels != IGNORED).sum().reshape(1)


def weighted_sum(logits: torch.Tensor, labels: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Return sum(weight x cross-entropy) over the trained tokens of a batch.

    ``logits`` are (samples, length, vocabulary); the token at a position is predicted by the logits before it. Computed
    in float32, and only where a token is trained: most of a batch's logits are not needed.
    """
    trained = labels[:, 1:] != IGNORED
    losses = cross_entropy(logits[:, :-1][trained].float(), labels[:, 1:][trained], reduction="none")
    return (losses * weights[:, 1:][trained]).sum()
