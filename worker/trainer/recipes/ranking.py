"""ranking: a query comes closer to the document that answers it than to the others (multiple negatives ranking)."""

import json
import shutil
from collections.abc import Mapping, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Any

import torch
from sentence_transformers import SentenceTransformer
from torch.nn.functional import cross_entropy, normalize

from worker.tokens.encoder import EncodedSample
from worker.trainer import collective
from worker.trainer.cross_entropy import padded
from worker.trainer.failures import platforms_fault, users_fault
from worker.trainer.model_files import DESCRIPTIONS
from worker.trainer.recipes.recipe import Batch, Beginning, Kept, Recipe
from worker.trainer.token_file import Row

#: What modules.json may name: code of the library, never of a model.
_MODULES = "sentence_transformers."


class RankingRecipe(Recipe):
    """loss = mean over queries of: -log softmax(cosine / ``temperature``) of the positive among documents.

    Which documents: the query's own, and with ``in_batch_negatives`` those of all queries of a batch, in all processes.
    A document that is the same text as the positive is no negative. The model is one of sentence-transformers, with
    whatever pooling it has.
    """

    causal = False
    whole_batches = True
    _base: Path

    def kept(self, data: Mapping[str, Any], encoded: EncodedSample) -> Kept:
        """Return the query, its positive, then its negatives."""
        query, *documents = encoded.sequences
        labels = [bool(document["label"]) for document in data["docs"]]
        positive = labels.index(True)
        return Kept([query, documents.pop(positive), *documents])

    def load(self, folder: Path) -> None:
        """Load the base model. Raises JobError where its description names code that is not the library's."""
        self._base = folder
        self.model = load_encoder(folder)
        if self.chosen.gradient_checkpointing:
            self.model.transformers_model.activation_checkpointing_enable()

    def restore(self, folder: Path) -> bool:
        """Put a checkpoint's weights into the model: the names of its weights are not those in the file."""
        self.model.load_state_dict(load_encoder(folder).state_dict())
        return True

    def prepare(self, beginning: Beginning) -> None:
        """Make sure that there is something to learn. Raises JobError where no query has a document to be kept from."""
        alone = not self.chosen.in_batch_negatives or self.chosen.batch_size == 1
        if alone and beginning.reader.longest_sample <= 2:
            raise users_fault(
                "nothing-to-train",
                "no sample has a negative document, and in_batch_negatives is off or batch_size is 1; add negatives, "
                "or train with in_batch_negatives and several samples a batch",
            )

    def collate(self, rows: Sequence[Row]) -> Batch:
        """Return all texts, (texts, longest one): the queries, the positive of each, then all negatives.

        ``owners`` (documents) are the numbers of the queries they belong to; texts are equal where ``keys`` (documents)
        are.
        """
        documents = [(number, row.sequences[1]) for number, row in enumerate(rows)]
        documents += [(number, text) for number, row in enumerate(rows) for text in row.sequences[2:]]
        batch = padded([row.sequences[0] for row in rows] + [text for _, text in documents], self._pad_id())
        keys = [int.from_bytes(blake2b(text.ids.tobytes(), digest_size=7).digest(), "big") for _, text in documents]
        return {
            "input_ids": batch["input_ids"],
            "attention_mask": batch["attention_mask"],
            "owners": torch.tensor([number for number, _ in documents]),
            "keys": torch.tensor(keys),
            "items": torch.tensor([len(rows)]),
            "work": batch["work"],
        }

    def loss(self, model: Any, batch: Batch) -> torch.Tensor:
        """Return the sum of the queries' losses."""
        features = {"input_ids": batch["input_ids"], "attention_mask": batch["attention_mask"]}
        embeddings = normalize(model(features)["sentence_embedding"].float(), dim=-1)
        count = len(embeddings) - len(batch["keys"])
        queries, documents, keys, first = embeddings[:count], embeddings[count:], batch["keys"], 0
        if self.chosen.in_batch_negatives and torch.is_grad_enabled():
            (documents, first), (keys, _) = collective.gathered(documents), collective.gathered(keys)
        own = torch.arange(count, device=keys.device)
        positives = first + own
        ignored = keys[None, :] == keys[positives][:, None]
        ignored[own, positives] = False
        if not self.chosen.in_batch_negatives:
            ignored |= batch["owners"][None, :] != own[:, None]
        scores = (queries @ documents.T / self.chosen.temperature).masked_fill(ignored, -torch.inf)
        return cross_entropy(scores, positives, reduction="sum")

    def save(self, folder: Path) -> None:
        """Write the model as sentence-transformers loads it: in the base's own words, so the same versions of it do."""
        self.model.save_pretrained(str(folder), create_model_card=False)
        if _modules(self._base, "path") == _modules(folder, "path"):
            for path in self._base.rglob("*.json"):
                if DESCRIPTIONS.fullmatch(name := path.relative_to(self._base).as_posix()):
                    shutil.copy(path, folder / name)

    def _pad_id(self) -> int:
        stated = self.model.config.pad_token_id
        return stated if isinstance(stated, int) else 0


def _modules(folder: Path, field: str) -> list[str]:
    described = folder / "modules.json"
    return [module[field] for module in json.loads(described.read_text())] if described.exists() else []


def load_encoder(folder: Path) -> SentenceTransformer:
    """Return an embedding model from local files. Raises JobError where it names code that is not the library's."""
    foreign = [name for name in _modules(folder, "type") if not name.startswith(_MODULES)]
    if foreign:
        raise platforms_fault("model-refused", f"modules.json names {', '.join(foreign)}", retryable=False)
    return SentenceTransformer(
        str(folder),
        device="cpu",
        local_files_only=True,
        trust_remote_code=False,
        model_kwargs={"dtype": torch.float32, "use_safetensors": True},
    )
