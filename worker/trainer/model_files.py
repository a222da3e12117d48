"""The files of a model's directory that are ever fetched, copied or kept: safetensors, JSON and text. No pickles."""

import re
from pathlib import Path

from worker.trainer.bucket import Bucket
from worker.trainer.failures import platforms_fault

_MODULE = "[0-9]{1,2}_[A-Za-z]{1,40}"
#: How an embedding model is put together of modules.
DESCRIPTIONS = re.compile(
    rf"(modules\.json|config_sentence_transformers\.json|sentence_bert_config\.json|{_MODULE}/config\.json)"
)
#: The files of a model directory that are ever fetched, copied or kept. Anything else is left where it is.
MODEL_FILES = re.compile(
    r"(model(-\d{5}-of-\d{5})?\.safetensors|model\.safetensors\.index\.json|config\.json|generation_config\.json"
    r"|adapter_model\.safetensors|adapter_config\.json"
    rf"|{DESCRIPTIONS.pattern}|{_MODULE}/model\.safetensors)"
)
TOKENIZER_FILES = re.compile(
    r"(tokenizer\.json|tokenizer_config\.json|special_tokens_map\.json|added_tokens\.json|chat_template\.jinja"
    r"|vocab\.json|vocab\.txt|merges\.txt|tokenizer\.model)"
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
