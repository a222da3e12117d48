"""pretrain: texts packed into rows of the context, none of which sees another."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from worker.trainer.cross_entropy import labels_of, trained_tokens, weighted_sum, work_of
from worker.trainer.failures import platforms_fault
from worker.trainer.packing import PackedRows
from worker.trainer.recipes.language import LanguageRecipe
from worker.trainer.recipes.recipe import Batch, Beginning, Rows
from worker.trainer.token_file import Row, TokenReader


class PretrainRecipe(LanguageRecipe):
    """loss = sum of cross-entropies / number of trained tokens: all but the first of each piece of a text.

    What keeps texts apart are their positions, which begin anew with each: from them the attention of transformers
    makes a mask of blocks, or what its kernels take for one.
    """

    def rows(self, reader: TokenReader, order: npt.NDArray[np.int64]) -> Rows:
        """Return the texts, packed. A text is one sequence, so their numbers are the same."""
        return PackedRows(reader, order, self.plan.context_length)

    def prepare(self, beginning: Beginning) -> None:
        """Make sure that this model, as it is installed here, keeps texts apart. Raises JobError where it does not."""
        del beginning
        if leaks(self.model):
            raise platforms_fault(
                "packing-leaks",
                f"{self.plan.base_model} cannot be pretrained here: it lets texts in one row see each other, since its "
                "attention makes nothing of positions that begin anew",
                retryable=False,
            )

    def collate(self, rows: Sequence[Row]) -> Batch:
        """Return ``input_ids``, ``position_ids``, ``labels`` and ``loss_weights``, each (rows, longest row).

        Behind the pieces of a row its padding is a piece of its own, which is not trained.
        """
        lengths = [[len(piece.ids) for piece in row.sequences] for row in rows]
        shape = (len(rows), max(map(sum, lengths)))
        ids = torch.full(shape, self.pad_id, dtype=torch.long)
        positions = torch.zeros(shape, dtype=torch.long)
        weights = torch.zeros(shape, dtype=torch.float32)
        for number, row in enumerate(rows):
            start = 0
            for piece in row.sequences:
                end = start + len(piece.ids)
                ids[number, start:end] = torch.tensor(piece.ids, dtype=torch.long)
                positions[number, start:end] = torch.arange(end - start)
                # Nothing predicts the first token of a piece.
                weights[number, start + 1 : end] = torch.tensor(piece.weights[1:], dtype=torch.float32)
                start = end
            positions[number, start:] = torch.arange(shape[1] - start)
        batch = {"input_ids": ids, "position_ids": positions, "loss_weights": weights}
        labels = labels_of(batch)
        work = work_of([length for row in lengths for length in row])
        return batch | {"labels": labels, "items": trained_tokens(labels), "work": work}

    def loss(self, model: Any, batch: Batch) -> torch.Tensor:
        """Return the sum of cross-entropies over the trained tokens."""
        # With a mask, or with a cache, positions would not keep texts apart.
        outputs = model(input_ids=batch["input_ids"], position_ids=batch["position_ids"], use_cache=False)
        return weighted_sum(outputs.logits, batch["labels"], batch["loss_weights"])


def leaks(model: Any) -> bool:
    """Return whether a text in a row sees the one before it: whether its outputs have any gradient there.

    Changes nothing: neither the model nor any random number generator.
    """
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(model.config.vocab_size, (1, 8), generator=generator)
    positions = torch.arange(4).repeat(2).reshape(1, 8)
    embedded = model.get_input_embeddings()(ids.to(model.device)).detach().requires_grad_()
    outputs = model(inputs_embeds=embedded, position_ids=positions.to(model.device), use_cache=False)
    (gradient,) = torch.autograd.grad(outputs.logits[0, 4:].float().square().sum(), embedded)
    return bool(gradient[0, :4].any())
