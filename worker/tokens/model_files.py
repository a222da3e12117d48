"""A model's tokenizer, as it lies in the bucket."""

from typing import NamedTuple

from handlers.ports.store import ObjectStore
from worker.tokens.files import CONFIG_FILE, TEMPLATE_FILE, TOKENIZER_FILE, TokenizerFiles

#: Models whose files are kept in memory: megabytes each.
_MOST_KEPT = 4


class KeptFiles(NamedTuple):
    """Files as they were read, with the ETags they had; None where there was no file."""

    etags: tuple[str | None, ...]
    files: TokenizerFiles


#: What this process read last, by where it lies: nearly every count is for one of a few models, which do not change.
kept_files: dict[str, KeptFiles] = {}


async def tokenizer_files(store: ObjectStore, prefix: str) -> TokenizerFiles:
    """Return the tokenizer files under a model's prefix. Those this process has are not read again: a HEAD a file.

    Raises:
        LookupError: there is no tokenizer.
    """
    keys = [prefix + name for name in (TOKENIZER_FILE, CONFIG_FILE, TEMPLATE_FILE)]
    place = store.uri(prefix)
    if (kept := kept_files.pop(place, None)) is None or kept.etags != await _etags(store, keys):
        kept = await _read(store, keys)
    # The one used last is last: the first goes.
    kept_files[place] = kept
    while len(kept_files) > _MOST_KEPT:
        del kept_files[next(iter(kept_files))]
    return kept.files


async def _etags(store: ObjectStore, keys: list[str]) -> tuple[str | None, ...]:
    found = [await store.head(key) for key in keys]
    return tuple(info.etag if info else None for info in found)


async def _read(store: ObjectStore, keys: list[str]) -> KeptFiles:
    tokenizer, config, template = [await store.get(key) for key in keys]
    if tokenizer is None:
        raise LookupError(f"there is no {keys[0]}: the base model is not in the bucket")
    files = TokenizerFiles(
        tokenizer=tokenizer.body,
        config=config.body if config else b"{}",
        chat_template=template.body if template else None,
    )
    return KeptFiles(tuple(each.etag if each else None for each in (tokenizer, config, template)), files)
