"""The base model ``tiny``: a Llama of 1.4 million random weights, for trials that must take seconds. Deterministic.

Written without torch, whose import alone takes longer.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors.numpy import save_file
from tokenizers import Tokenizer

from worker.tokens.files import CONFIG_FILE, TEMPLATE_FILE, TOKENIZER_FILE, TokenizerFiles
from worker.trainer.tiny_tokenizer import CONTEXT_LENGTH, END, START, VOCABULARY, tiny_tokenizer

_SEED = 20240726
_HIDDEN, _INNER, _LAYERS, _HEADS, _KEY_VALUE_HEADS = 160, 480, 4, 4, 2
#: Standard deviation of the weights: Llama's own; wider for the embeddings, which are also the head: an adapter cannot
#: change them, and from narrow ones it could not learn to be sure of anything.
_SPREAD, _EMBEDDING_SPREAD = 0.02, 0.06


def make_tiny(folder: Path) -> None:
    """Write the model into an empty folder."""
    files = tiny_tokenizer()
    write_tokenizer(files, folder)
    vocabulary = Tokenizer.from_buffer(files.tokenizer).get_vocab(with_added_tokens=True)
    ids = {"bos_token_id": vocabulary[START], "eos_token_id": vocabulary[END], "pad_token_id": vocabulary[END]}
    _write(folder / "config.json", _CONFIG | ids)
    _write(folder / "generation_config.json", ids)
    save_file(_weights(), folder / "model.safetensors", metadata={"format": "pt"})


def write_tokenizer(files: TokenizerFiles, folder: Path) -> None:
    """Write tokenizer, configuration and chat template into a folder, byte for byte."""
    (folder / TOKENIZER_FILE).write_bytes(files.tokenizer)
    (folder / CONFIG_FILE).write_bytes(files.config)
    if files.chat_template is not None:
        (folder / TEMPLATE_FILE).write_bytes(files.chat_template)


_CONFIG: dict[str, Any] = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "vocab_size": VOCABULARY,
    "hidden_size": _HIDDEN,
    "intermediate_size": _INNER,
    "num_hidden_layers": _LAYERS,
    "num_attention_heads": _HEADS,
    "num_key_value_heads": _KEY_VALUE_HEADS,
    "hidden_act": "silu",
    "max_position_embeddings": CONTEXT_LENGTH,
    "initializer_range": _SPREAD,
    "rms_norm_eps": 1e-06,
    "tie_word_embeddings": True,
    "dtype": "float32",
}


def _weights() -> dict[str, npt.NDArray[np.float32]]:
    generator = np.random.Generator(np.random.PCG64(_SEED))

    def matrix(*shape: int, spread: float = _SPREAD) -> npt.NDArray[np.float32]:
        return (generator.standard_normal(shape) * spread).astype(np.float32)

    ones = np.ones(_HIDDEN, np.float32)
    narrow = _HIDDEN // _HEADS * _KEY_VALUE_HEADS
    weights = {
        "model.embed_tokens.weight": matrix(VOCABULARY, _HIDDEN, spread=_EMBEDDING_SPREAD),
        "model.norm.weight": ones,
    }
    for number in range(_LAYERS):
        layer = f"model.layers.{number}."
        weights |= {
            layer + "input_layernorm.weight": ones,
            layer + "self_attn.q_proj.weight": matrix(_HIDDEN, _HIDDEN),
            layer + "self_attn.k_proj.weight": matrix(narrow, _HIDDEN),
            layer + "self_attn.v_proj.weight": matrix(narrow, _HIDDEN),
            layer + "self_attn.o_proj.weight": matrix(_HIDDEN, _HIDDEN),
            layer + "post_attention_layernorm.weight": ones,
            layer + "mlp.gate_proj.weight": matrix(_INNER, _HIDDEN),
            layer + "mlp.up_proj.weight": matrix(_INNER, _HIDDEN),
            layer + "mlp.down_proj.weight": matrix(_HIDDEN, _INNER),
        }
    return weights


def _write(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2, sort_keys=True) + "\n")
