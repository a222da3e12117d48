"""``python -m worker.trainer.base_models NAME``: put a base model into the bucket, under base-models/NAME/1/.

Idempotent: a model that is complete already is left alone. Progress is on stderr.
"""

import argparse
import sys
import tempfile
from pathlib import Path

import msgspec

from worker.settings import Settings, SettingsError
from worker.tokens.files import TokenizerFiles
from worker.trainer import environment
from worker.trainer.bucket import open_bucket

VERSION = "1"
COMPLETE = "complete.json"

KNOWN = ("SmolLM2-135M-Instruct", "tiny")


def prefix_of(name: str) -> str:
    """Return a base model's prefix in the bucket, with its final slash."""
    return f"base-models/{name}/{VERSION}/"


def provide(name: str, settings: Settings) -> bool:
    """Put a model into the bucket; return whether it had to be made.

    The marker ``complete.json`` (path, size and SHA-256 of every file) is written last. May be called twice, also at
    the same time: the same files are written.

    Raises:
        LookupError: the model is not known.
        Unavailable: the bucket does not answer.
    """
    if name not in KNOWN:
        raise LookupError(f"{name} is not known; choose one of {', '.join(KNOWN)}")
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
            files = [bucket.upload(prefix + path.name, path) for path in sorted(folder.iterdir())]
        bucket.put(prefix + COMPLETE, msgspec.json.encode({"files": files}))
        _say(f"{name} is in the bucket: {len(files)} files, {sum(file.size_bytes for file in files) / 1e6:.0f} MB")
        return True


def tokenizer_of(name: str) -> TokenizerFiles:
    """Return the tokenizer of a known model, the same as in the bucket, without making the model: needs no torch.

    Raises:
        LookupError: the model is not known, or the extra ``trainer``, which it comes with, is not installed.
    """
    if name == "tiny":
        from worker.trainer.tiny_tokenizer import tiny_tokenizer  # noqa: PLC0415 - a tokenizer is trained for it

        return tiny_tokenizer()
    if name not in KNOWN:
        raise LookupError(f"{name} is not known; choose one of {', '.join(KNOWN)}")
    try:
        from worker.trainer.smollm2_tokenizer import smollm2_tokenizer  # noqa: PLC0415 - of an extra
    except ModuleNotFoundError as error:
        raise LookupError(f"the package {error.name} is not installed: install the extra trainer") from error
    return smollm2_tokenizer()


def _make(name: str, folder: Path) -> None:
    # Torch takes seconds to import; a model that is there already does not need it.
    if name == "tiny":
        from worker.trainer.tiny import make_tiny  # noqa: PLC0415 - the reason is above

        make_tiny(folder)
    else:
        from worker.trainer.smollm2 import make_smollm2  # noqa: PLC0415 - the same

        make_smollm2(folder)


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
    )
    parser.add_argument("name", metavar="NAME", help=" or ".join(KNOWN))
    return parser


def _say(text: str) -> None:
    sys.stderr.write(text + "\n")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
