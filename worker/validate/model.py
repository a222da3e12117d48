"""Which model to count tokens for: one of the catalogue, or a folder with a tokenizer."""

import asyncio
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from contracts.strict_json import printable
from handlers.errors import Unavailable
from handlers.ports.catalog import ModelEntry
from worker.catalog import load_catalog
from worker.settings import Settings
from worker.storage import open_store
from worker.storage.file_uri import path_of
from worker.tokens.files import CONFIG_FILE, TOKENIZER_FILE, TokenizerFiles, read_folder
from worker.tokens.model_files import tokenizer_files
from worker.validate.inputs import CouldNotCheck

#: Tokenizers that were never told their length say 10**30.
_NO_LENGTH = 10**9


class Model(NamedTuple):
    """What samples are counted for. ``context_length`` in tokens; None where nobody says it: then none is too long."""

    name: str
    context_length: int | None
    files: TokenizerFiles


def find_model(asked: str) -> Model:
    """Return the model that ``name``, ``name@version`` or the path of a folder means. Blocks.

    A model of the catalogue has the tokenizer that lies in the bucket, since that is the one it is trained with; where
    there is none yet, the one that would be put there. A name of the catalogue comes before a folder of that name.

    Raises:
        CouldNotCheck: there is no such model, or nothing to read text with.
        SettingsError: the settings or the catalogue cannot be used.
    """
    settings = Settings.from_environment()
    catalog = load_catalog(settings.models_file, settings.prices_file)
    entries = [model for model in catalog.models() if asked in {model.name, f"{model.name}@{model.version}"}]
    if len(entries) == 1:
        (entry,) = entries
        return Model(f"{entry.name}@{entry.version}", entry.context_length, _of_catalogue(settings, entry))
    if entries:
        versions = ", ".join(f"{model.name}@{model.version}" for model in entries)
        raise CouldNotCheck(f"--model {asked}: which version? There are {versions}")
    if Path(asked).is_dir():
        return _of_folder(Path(asked))
    known = ", ".join(f"{model.name}@{model.version}" for model in catalog.models())
    raise CouldNotCheck(
        f"--model {printable(asked)}: neither a model of the catalogue ({known}) nor a folder with {TOKENIZER_FILE}"
    )


def _of_catalogue(settings: Settings, entry: ModelEntry) -> TokenizerFiles:
    try:
        # Opening a bucket in a directory makes it, and looking something up should leave nothing behind.
        if settings.storage_url.lower().startswith("file:") and not Path(path_of(settings.storage_url)).is_dir():
            raise LookupError(f"there is no bucket at {settings.storage_url} yet")
        return asyncio.run(_in_bucket(settings, entry.prefix))
    except Unavailable as error:
        raise CouldNotCheck(f"--model {entry.name}: its tokenizer cannot be read: {error}") from error
    except LookupError as missing:
        # The trainer's, which the worker itself must not need.
        from worker.trainer.base_models import tokenizer_of  # noqa: PLC0415 - the reason is above

        try:
            return tokenizer_of(entry.name)
        except LookupError as error:
            raise CouldNotCheck(
                f"--model {entry.name}: {missing}, and it cannot be made here: {error}. "
                f"Or pass a folder with {TOKENIZER_FILE} to --model"
            ) from error


async def _in_bucket(settings: Settings, prefix: str) -> TokenizerFiles:
    async with open_store(settings) as store:
        return await tokenizer_files(store, prefix)


def _of_folder(folder: Path) -> Model:
    try:
        files = read_folder(folder)
        config = folder / "config.json"
        described = _object(config.read_bytes(), config) if config.exists() else {}
    except FileNotFoundError:
        raise CouldNotCheck(f"--model {printable(str(folder))}: there is no {TOKENIZER_FILE} in this folder") from None
    except OSError as error:
        raise CouldNotCheck(f"--model {printable(str(error.filename))}: {error.strerror}") from error
    inner = described.get("text_config")
    length = (inner if isinstance(inner, dict) else described).get("max_position_embeddings")
    if not isinstance(length, int):
        length = _object(files.config, folder / CONFIG_FILE).get("model_max_length")
    known = isinstance(length, int) and not isinstance(length, bool) and 0 < length < _NO_LENGTH
    return Model(printable(str(folder)), length if known else None, files)


def _object(raw: bytes, path: Path) -> dict[str, Any]:
    try:
        return msgspec.json.decode(raw, type=dict[str, Any])
    except msgspec.MsgspecError as error:
        raise CouldNotCheck(f"--model: {printable(str(path))} is not a JSON object: {error}") from error
