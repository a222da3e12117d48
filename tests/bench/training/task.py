"""What all contenders train: a Llama of a size, from its configuration alone, and conversations of many lengths."""

import random
from pathlib import Path
from typing import Any, NamedTuple

import torch
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

from worker.tokens.encoder import SampleEncoder
from worker.tokens.files import read_folder
from worker.trainer.tiny import write_tokenizer
from worker.trainer.tiny_tokenizer import VOCABULARY, tiny_tokenizer

_WORDS = [
    "river",
    "stone",
    "paper",
    "window",
    "北京",
    "天气",
    "晴",
    "answer",
    "question",
    "seven",
    "because",
    "while",
    "over",
]


class Size(NamedTuple):
    """A model and its data. ``words``: the least and the most in an answer; ``precision`` fp32 or bf16."""

    hidden: int
    inner: int
    layers: int
    heads: int
    context: int
    words: tuple[int, int]
    samples: int
    batch_size: int
    precision: str


#: ``ci`` is for two CPU cores; ``1b``, of about a billion parameters with real lengths, is for a GPU.
SIZES = {
    "ci": Size(256, 768, 4, 4, 512, (10, 120), 80, 8, "fp32"),
    "1b": Size(2048, 8192, 16, 32, 4096, (100, 1200), 256, 8, "bf16"),
}


def write_model(folder: Path, size: Size) -> None:
    """Write the model and its tokenizer; the same weights every time."""
    folder.mkdir(parents=True)
    write_tokenizer(tiny_tokenizer(), folder)
    end = AutoTokenizer.from_pretrained(folder).eos_token_id
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=size.hidden,
        intermediate_size=size.inner,
        num_hidden_layers=size.layers,
        num_attention_heads=size.heads,
        num_key_value_heads=size.heads,
        max_position_embeddings=size.context,
        tie_word_embeddings=True,
        bos_token_id=end,
        eos_token_id=end,
        pad_token_id=end,
    )
    torch.manual_seed(1)
    LlamaForCausalLM(config).save_pretrained(folder)


def conversations(size: Size) -> list[dict[str, Any]]:
    """Return the samples; the same every time."""
    dice = random.Random(5)  # noqa: S311 - samples that can be made again

    def words(least: int, most: int) -> str:
        return " ".join(dice.choices(_WORDS, k=dice.randint(least, most)))

    return [
        {"messages": [{"role": "user", "content": words(5, 30)}, {"role": "assistant", "content": words(*size.words)}]}
        for _ in range(size.samples)
    ]


def tokens_of(folder: Path, samples: list[dict[str, Any]]) -> list[list[int]]:
    """Return each sample's tokens, as all contenders see them."""
    encoder = SampleEncoder(read_folder(folder))
    return [list(each.ids) for each in encoder.encode_sft(samples)]
