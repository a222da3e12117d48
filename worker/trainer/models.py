"""Base models and adapters, from local files only: safetensors and JSON, no code of theirs, no pickles."""

import re
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import AutoModelForCausalLM, PreTrainedModel, set_seed

from worker.trainer.bucket import Bucket
from worker.trainer.failures import platforms_fault
from worker.trainer.hyperparameters import Hyperparameters

#: The files of a model directory that are ever fetched, copied or kept. Anything else is left where it is.
MODEL_FILES = re.compile(
    r"(model(-\d{5}-of-\d{5})?\.safetensors|model\.safetensors\.index\.json|config\.json|generation_config\.json"
    r"|adapter_model\.safetensors|adapter_config\.json)"
)
TOKENIZER_FILES = re.compile(
    r"(tokenizer\.json|tokenizer_config\.json|special_tokens_map\.json|added_tokens\.json|chat_template\.jinja"
    r"|vocab\.json|merges\.txt|tokenizer\.model)"
)


def is_wanted(name: str) -> bool:
    """Return whether a file of a model directory is one we use."""
    return bool(MODEL_FILES.fullmatch(name) or TOKENIZER_FILES.fullmatch(name))


def fetch_model(bucket: Bucket, prefix: str, folder: Path) -> None:
    """Write a model's files into a folder.

    Raises:
        JobError: there is no complete model under the prefix.
    """
    names = bucket.download(prefix, folder, is_wanted)
    if "tokenizer.json" not in names or not any(name.endswith(".safetensors") for name in names):
        raise platforms_fault(
            "base-model-missing",
            f"there is no model with safetensors and tokenizer.json under {prefix}; "
            "put it there with python -m worker.trainer.base_models NAME",
        )


def load_base(folder: Path, dtype: torch.dtype = torch.float32) -> PreTrainedModel:
    """Return a base model, in float32 unless otherwise said."""
    model: PreTrainedModel = AutoModelForCausalLM.from_pretrained(
        folder, dtype=dtype, use_safetensors=True, local_files_only=True, trust_remote_code=False
    )
    return model


def with_adapter(model: PreTrainedModel, chosen: Hyperparameters, seed: int) -> PeftModel:
    """Return the model with a fresh LoRA adapter on every linear layer but the head. The seed decides its weights."""
    set_seed(seed)
    config = LoraConfig(
        task_type="CAUSAL_LM",
        r=chosen.lora_rank,
        lora_alpha=chosen.lora_alpha,
        lora_dropout=chosen.lora_dropout,
        target_modules="all-linear",
    )
    adapted: Any = get_peft_model(model, config)
    assert isinstance(adapted, PeftModel)
    return adapted


def pad_id_of(model: PreTrainedModel) -> int:
    """Return a token id to pad with. Which one does not matter: padding is masked and never trained."""
    for found in (model.config.pad_token_id, model.config.eos_token_id):
        if isinstance(found, int):
            return found
    return 0
