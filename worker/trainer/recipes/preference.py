"""preference: the better of two answers becomes more probable than it was to the base, beside the worse (DPO)."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import permutations
from pathlib import Path
from typing import Any

import torch
from torch.nn.functional import cross_entropy, logsigmoid

from worker.tokens.candidates import candidates, extremes
from worker.tokens.encoder import EncodedSample
from worker.trainer.cross_entropy import IGNORED, labels_of, padded
from worker.trainer.recipes.language import LanguageRecipe, logits_of
from worker.trainer.recipes.recipe import Batch, Beginning, Kept
from worker.trainer.reference import AdapterReference, Reference, stored_reference
from worker.trainer.token_file import Row

#: A candidate's mark: its rank, twice, and one more where it is imitated.
_IMITATED = 1


class PreferenceRecipe(LanguageRecipe):
    """loss = mean over samples of: the mean of its pairs' losses + ``sft_weight`` x what it loses on imitated answers.

    A pair's loss is -log sigmoid(beta x (better - worse)), each the log-probability of an answer minus the base's.
    An answer whose ``lm_loss_mask`` is 1 is imitated: its mean cross-entropy is added, the mean over all such
    answers of a sample. Only answers that are compared are looked at.
    """

    reference: Reference

    def kept(self, data: Mapping[str, Any], encoded: EncodedSample) -> Kept:
        """Return every candidate, or the best and the worst, with a mark for each."""
        found = candidates(data["messages"][-1])
        places = extremes(found) if self.chosen.pairs == "best-worst" else range(len(found))
        marks = [found[place].rank * 2 + _IMITATED * found[place].imitated for place in places]
        return Kept([encoded.sequences[place] for place in places], marks)

    def prepare(self, beginning: Beginning) -> None:
        """Make the base's log-probabilities known: for an adapter it is at hand, else it says them all beforehand."""
        if self.plan.method == "LoRA":
            self.reference = AdapterReference(self.model, self._says)
        else:
            self.reference = stored_reference(beginning, self.model, self._batches(beginning), self._says)

    def _batches(self, beginning: Beginning) -> Iterator[Batch]:
        size = self.chosen.batch_size
        for start in range(0, len(beginning.used), size):
            yield self.collate([beginning.reader.sample(number) for number in beginning.used[start : start + size]])

    def _says(self, batch: Batch) -> torch.Tensor:
        device = self.model.device
        with torch.autocast(device.type, torch.bfloat16, enabled=self.chosen.precision == "bf16"):
            return log_probabilities(self.model, {name: tensor.to(device) for name, tensor in batch.items()})

    def collate(self, rows: Sequence[Row]) -> Batch:
        """Return all candidates, (candidates, longest one), and what is compared with what.

        ``better`` and ``worse`` (pairs) are numbers of candidates in the batch, ``pair_weights`` (pairs) what each pair
        counts, ``imitated`` (candidates) what each candidate's cross-entropy counts. ``numbers`` (candidates) are those
        of the sequences in their file.
        """
        batch = padded([sequence for row in rows for sequence in row.sequences], self.pad_id)
        pairs: list[tuple[int, int, float]] = []
        imitated: list[float] = []
        for row in rows:
            start, ranks, flags = len(imitated), row.marks // 2, row.marks % 2
            found = [(a, b) for a, b in permutations(range(len(ranks)), 2) if ranks[a] < ranks[b]]
            pairs += [(start + better, start + worse, 1 / len(found)) for better, worse in found]
            imitated += [int(flag) / max(int(flags.sum()), 1) for flag in flags]
        numbers = [row.first + place for row in rows for place in range(len(row.sequences))]
        return batch | {
            "labels": labels_of(batch),
            "better": torch.tensor([better for better, _, _ in pairs], dtype=torch.long),
            "worse": torch.tensor([worse for _, worse, _ in pairs], dtype=torch.long),
            "pair_weights": torch.tensor([weight for _, _, weight in pairs]),
            "imitated": torch.tensor(imitated),
            "numbers": torch.tensor(numbers),
            "items": torch.tensor([len(rows)]),
        }

    def loss(self, model: Any, batch: Batch) -> torch.Tensor:
        """Return the sum of the samples' losses."""
        answers = log_probabilities(model, batch)
        gained = answers - self.reference.of(batch)
        margins = self.chosen.beta * (gained[batch["better"]] - gained[batch["worse"]])
        compared = -(logsigmoid(margins) * batch["pair_weights"]).sum()
        lengths = (batch["labels"] != IGNORED).sum(1).clamp(min=1)
        imitated = -(answers / lengths * batch["imitated"]).sum()
        return compared + self.chosen.sft_weight * imitated

    def save(self, folder: Path) -> None:
        """Write what is trained, and what the base says where that was computed once."""
        super().save(folder)
        self.reference.save(folder)


def log_probabilities(model: Any, batch: Batch) -> torch.Tensor:
    """Return the log-probability (candidates) of each answer after its prompt."""
    logits = logits_of(model, batch)
    labels = batch["labels"][:, 1:]
    answer = labels != IGNORED
    # Only where there is an answer: most of a batch's logits are not needed in float32.
    losses = cross_entropy(logits[:, :-1][answer].float(), labels[answer], reduction="none")
    return -torch.zeros(labels.shape, device=labels.device).masked_scatter(answer, losses).sum(1)
