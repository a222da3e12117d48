"""The files to measure with: the same bytes on every machine, written once and kept."""

import json
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path
from random import Random
from typing import NamedTuple

from tests.bench.validate import samples
from tests.bench.validate.faults import FAULTS, WARNINGS
from tests.bench.validate.result import Format

#: One line in a hundred is at fault, and one in four hundred is to warn about.
_AT_FAULT = 0.01
_TO_WARN_ABOUT = 0.0025

_SEED = 20


class Kind(NamedTuple):
    """What a file holds: lines without end, of one format."""

    format: Format
    lines: Callable[[], Iterator[bytes]]
    about: str


def _raw() -> Iterator[bytes]:
    for sample in samples.sft(_SEED):
        yield json.dumps(sample, ensure_ascii=False).encode()


def _escaped() -> Iterator[bytes]:
    for sample in samples.sft(_SEED):
        yield json.dumps(sample).encode()


def _odd() -> Iterator[bytes]:
    random = Random(_SEED)  # noqa: S311 - a file to measure with, no secret
    for sample in samples.sft(_SEED):
        drawn = random.random()
        if drawn < _AT_FAULT:
            yield random.choice(FAULTS)(sample)
        elif drawn < _AT_FAULT + _TO_WARN_ABOUT:
            yield random.choice(WARNINGS)(sample)
        else:
            yield json.dumps(sample, ensure_ascii=False).encode()


def _pretrain() -> Iterator[bytes]:
    for sample in samples.pretrain(_SEED):
        yield json.dumps(sample, ensure_ascii=False).encode()


KINDS: dict[str, Kind] = {
    "sft-plain": Kind("sft", _raw, "conversations, raw UTF-8"),
    "sft-escaped": Kind("sft", _escaped, "the same conversations, written with json.dumps' \\uXXXX escapes"),
    "sft-bad": Kind("sft", _odd, "the same conversations, 1 % of the lines at fault"),
    "pretrain": Kind("pretrain", _pretrain, "texts of 0.5 to 8 KB"),
}


def prepared(name: str, megabytes: int, folder: Path) -> Path:
    """Return a file of at least so many million bytes, written now where the folder does not have it yet.

    Idempotent. A file is named after the code that wrote it, so a changed generator writes anew.
    """
    path = folder / f"{name}-{megabytes}MB-{_version()}.jsonl"
    if path.exists():
        return path
    folder.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(".part")
    with unfinished.open("wb") as file:
        room = megabytes * 1_000_000
        for line in KINDS[name].lines():
            room -= file.write(line + b"\n")
            if room <= 0:
                break
    return unfinished.rename(path)


def _version() -> str:
    sources = sorted(Path(__file__).with_name(f"{name}.py") for name in ("files", "faults", "samples", "texts"))
    return sha256(b"".join(source.read_bytes() for source in sources)).hexdigest()[:8]
