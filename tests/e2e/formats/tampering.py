"""What somebody may do to an export, and that ``worker models verify`` finds it."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

from handlers.manifests import MANIFEST
from worker.models.progress import Progress
from worker.models.verification import verify
from worker.settings import Settings

#: Does something to an export, and returns the name of the file that it did it to.
Tampering = Callable[[Path], str]


def flip_a_bit_of_the_weights(export: Path) -> str:
    (weights,) = export.glob("*.safetensors")
    body = bytearray(weights.read_bytes())
    body[-1] ^= 1
    weights.write_bytes(body)
    return weights.name


def remove_the_configuration(export: Path) -> str:
    configuration = next(export.glob("*config.json"))
    configuration.unlink()
    return configuration.name


def swap_the_tokenizer(export: Path) -> str:
    """Put another one there, which loads and tokenizes as well: the first two of its tokens changed places."""
    tokenizer = export / "tokenizer.json"
    content = json.loads(tokenizer.read_bytes())
    vocabulary = content["model"]["vocab"]
    first, second, *_ = [token for token in vocabulary if token.isalpha()]
    vocabulary[first], vocabulary[second] = vocabulary[second], vocabulary[first]
    tokenizer.write_text(json.dumps(content))
    return tokenizer.name


TAMPERINGS: tuple[Tampering, ...] = (flip_a_bit_of_the_weights, remove_the_configuration, swap_the_tokenizer)


async def fails_when_tampered_with(export: Path, settings: Settings, scratch: Path) -> None:
    """Make sure that each tampering with a copy of an export is found, as a fault of the file it was done to alone."""
    assert (export / MANIFEST).is_file()
    for tampering in TAMPERINGS:
        copy = scratch / export.name
        shutil.copytree(export, copy)
        file = tampering(copy)
        verdict = await verify(str(copy), settings, base=None, progress=Progress())
        assert (verdict.exit_code, [problem.path for problem in verdict.problems]) == (1, [file]), tampering.__name__
        shutil.rmtree(copy)
