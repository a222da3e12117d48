"""How good a model is at a format: loaded by the libraries alone, as anybody would, and measured on other samples."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from sentence_transformers import SentenceTransformer
from transformers import AutoModelForCausalLM, AutoTokenizer

Samples = Sequence[dict[str, Any]]


class LanguageModel:
    """A causal language model, or an adapter on one, with its tokenizer."""

    def __init__(self, folder: Path, base: Path) -> None:
        """``base`` is what an adapter is on."""
        whole = folder if (folder / "config.json").exists() else base
        model: Any = AutoModelForCausalLM.from_pretrained(whole, local_files_only=True)
        self._model = (model if whole == folder else PeftModel.from_pretrained(model, folder)).eval()
        self._tokenizer: Any = AutoTokenizer.from_pretrained(folder, local_files_only=True)

    def loss_of_texts(self, samples: Samples) -> float:
        """Return the mean cross-entropy a token of pretrain samples."""
        return -self._mean([(sample["text"], 0) for sample in samples])

    def loss_of_answers(self, samples: Samples) -> float:
        """Return the mean cross-entropy a token of the last answers of sft samples."""
        return -self._mean([self._chat(sample["messages"]) for sample in samples])

    def agreement(self, samples: Samples) -> float:
        """Return the share of preference samples whose better answer is the more probable one."""
        agreed = 0
        for sample in samples:
            *prompt, last = sample["messages"]
            found = sorted(
                last["content"], key=lambda candidate: self._total(self._chat([*prompt, _said(candidate["text"])]))
            )
            agreed += found[-1]["score"] == max(each["score"] for each in found)
        return agreed / len(samples)

    def _chat(self, messages: list[dict[str, Any]]) -> tuple[str, int]:
        """Return a conversation as text, and where its last answer begins."""
        text = self._tokenizer.apply_chat_template(messages, tokenize=False)
        prompt = self._tokenizer.apply_chat_template(messages[:-1], tokenize=False, add_generation_prompt=True)
        return text, len(prompt)

    def _total(self, text: tuple[str, int]) -> float:
        return sum(self._log_probabilities(*text))

    def _mean(self, texts: Sequence[tuple[str, int]]) -> float:
        every = [each for text, start in texts for each in self._log_probabilities(text, start)]
        return sum(every) / len(every)

    @torch.no_grad()
    def _log_probabilities(self, text: str, start: int) -> list[float]:
        """Return the log-probability of each token from character ``start`` on."""
        encoded = self._tokenizer(text, add_special_tokens=False, return_tensors="pt", return_offsets_mapping=True)
        ids = encoded["input_ids"]
        logits = self._model(input_ids=ids).logits[0, :-1].log_softmax(-1)
        chosen = logits.gather(1, ids[0, 1:, None])[:, 0]
        ends = encoded["offset_mapping"][0, 1:, 1]
        return [float(value) for value, end in zip(chosen, ends, strict=True) if end > start]


def recall_at_1(folder: Path, samples: Samples) -> float:
    """Return the share of queries whose own document is the nearest of all documents of the samples."""
    model = SentenceTransformer(str(folder), device="cpu", local_files_only=True)
    texts = sorted({document["text"] for sample in samples for document in sample["docs"]})
    own = [next(each["text"] for each in sample["docs"] if each["label"]) for sample in samples]
    queries = model.encode([sample["query"] for sample in samples], convert_to_tensor=True)
    nearest = model.similarity(queries, model.encode(texts, convert_to_tensor=True)).argmax(1).tolist()
    found: int = sum(texts[place] == text for place, text in zip(nearest, own, strict=True))
    return found / len(samples)


def _said(text: str) -> dict[str, Any]:
    return {"role": "assistant", "content": text}


def as_lines(samples: Samples) -> bytes:
    """Return samples as JSONL."""
    return b"".join(json.dumps(sample, ensure_ascii=False).encode() + b"\n" for sample in samples)
