"""Base models and adapters, from local files only: safetensors and JSON, no code of theirs, no pickles."""

from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import AutoModelForCausalLM, PreTrainedModel, set_seed

from worker.trainer.hyperparameters import Hyperparameters


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
