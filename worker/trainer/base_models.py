"""``python -m worker.trainer.base_models NAME``: put a base model into the bucket, under base-models/NAME/1/.

Idempotent: a model that is complete already is left alone. Progress is on stderr.
"""

import argparse
import sys
import tempfile
from importlib import import_module
from pathlib import Path
from typing import Any

import msgspec

from handlers import layout
from worker.settings import Settings, SettingsError
from worker.tokens.files import TokenizerFiles
from worker.trainer import environment
from worker.trainer.bucket import open_bucket

VERSION = "1"
COMPLETE = "complete.json"

#: What makes each model, and its tokenizer: (module, function). Imported where it is needed: torch takes seconds, and a
#: model that is in the bucket already does not need it.
_MAKERS = {
    "SmolLM2-135M-Instruct": ("smollm2", "make_smollm2"),
    "tiny": ("tiny", "make_tiny"),
    "all-MiniLM-L6-v2": ("minilm", "make_minilm"),
    "tiny-encoder": ("tiny_encoder", "make_tiny_encoder"),
}
_TOKENIZERS = {
    "SmolLM2-135M-Instruct": ("smollm2_tokenizer", "smollm2_tokenizer"),
    "tiny": ("tiny_tokenizer", "tiny_tokenizer"),
    "all-MiniLM-L6-v2": ("minilm", "minilm_tokenizer"),
    "tiny-encoder": ("tiny_encoder_tokenizer", "tiny_encoder_tokenizer"),
}

KNOWN = tuple(_MAKERS)


def prefix_of(name: str) -> str:
    """Return a base model's prefix in the bucket, with its final slash."""
    return layout.base_model(name, VERSION)


def provide(name: str, settings: Settings) -> bool:
    """Put a model into the bucket; return whether it had to be made.

    The marker ``complete.json`` (path, size and SHA-256 of every file) is written last. May be called twice, also at
    the same time: the same files are written.

    Raises:
        LookupError: the model is not known.
        Unavailable: the bucket does not answer.
    """
    _check(name)
    prefix = prefix_of(name)
    with open_bucket(settings) as bucket:
        if bucket.get(prefix + COMPLETE) is not None:
            _say(f"{name} is in the bucket")
            return False
        _say(f"making {name}")
        with tempfile.TemporaryDirectory(prefix="base-model-") as scratch:
            folder = Path(scratch)
            _make(name, folder)
            _say(f"storing {name} under {bucket.uri(prefix)}")
            paths = sorted(path for path in folder.rglob("*") if path.is_file())
            files = [bucket.upload(prefix, path.relative_to(folder).as_posix(), path) for path in paths]
        bucket.put(prefix + COMPLETE, msgspec.json.encode({"files": files}))
        _say(f"{name} is in the bucket: {len(files)} files, {sum(file.size_bytes for file in files) / 1e6:.0f} MB")
        return True


def tokenizer_of(name: str) -> TokenizerFiles:
    """Return the tokenizer of a known model, the same as in the bucket, without making the model: needs no torch.

    Raises:
        LookupError: the model is not known, or the extra ``trainer``, which it comes with, is not installed.
    """
    _check(name)
    try:
        files: TokenizerFiles = _found(_TOKENIZERS[name])()
    except ModuleNotFoundError as error:
        raise LookupError(f"the package {error.name} is not installed: install the extra trainer") from error
    return files


def _make(name: str, folder: Path) -> None:
    _found(_MAKERS[name])(folder)


def _found(place: tuple[str, str]) -> Any:
    module, function = place
    return getattr(import_module(f"worker.trainer.{module}"), function)


def _check(name: str) -> None:
    if name not in KNOWN:
        raise LookupError(f"{name} is not known; choose one of {', '.join(KNOWN)}")


def main(arguments: list[str]) -> int:
    """Provide one model and return the exit code: 0 it is there, 2 it could not be put there."""
    given = _parser().parse_args(arguments)
    environment.prepare()
    try:
        provide(given.name, Settings.from_environment())
    except (LookupError, SettingsError, OSError) as error:
        _say(str(error))
        return 2
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m worker.trainer.base_models",
        description="Put a base model into the bucket that WORKER_STORAGE_URL names. Safe to repeat.",
        epilog="models:\n" + "\n".join(f"  {name}" for name in KNOWN),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("name", metavar="NAME", help="the model, by its name in the catalogue")
    return parser


def _say(text: str) -> None:
    sys.stderr.write(text + "\n")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
