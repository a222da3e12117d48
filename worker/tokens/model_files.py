"""A model's tokenizer, as it lies in the bucket."""

from handlers.ports import ObjectStore
from worker.tokens.files import CONFIG_FILE, TEMPLATE_FILE, TOKENIZER_FILE, TokenizerFiles


async def tokenizer_files(store: ObjectStore, prefix: str) -> TokenizerFiles:
    """Return the tokenizer files under a model's prefix.

    Raises:
        LookupError: there is no tokenizer.
    """
    tokenizer = await store.get(prefix + TOKENIZER_FILE)
    if tokenizer is None:
        raise LookupError(f"there is no {TOKENIZER_FILE} under {prefix}: the base model is not in the bucket")
    config = await store.get(prefix + CONFIG_FILE)
    template = await store.get(prefix + TEMPLATE_FILE)
    return TokenizerFiles(
        tokenizer=tokenizer.body,
        config=config.body if config else b"{}",
        chat_template=template.body if template else None,
    )
