"""The header of a GGUF file, read without any library: counts, metadata, the tensors' places, then their bytes.

https://github.com/ggml-org/ggml/blob/master/docs/gguf.md: tensors follow each other, each from a multiple of the file's
alignment, and fill the file to its end. So a file that was cut or lengthened is found without looking at a weight.
"""

import os
from math import prod
from pathlib import Path
from typing import BinaryIO, NamedTuple

_MAGIC, _VERSIONS = b"GGUF", (2, 3)
#: Vocabularies and merges of large tokenizers take some 20 MB; safetensors stops here, too.
_MOST_HEADER_BYTES = 100_000_000

#: Bytes of a value of metadata, by the number of its type.
_VALUE_BYTES = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
_UINT32, _STRING, _ARRAY = 4, 8, 9
_MOST_NESTED = 4

#: Bytes of a number of a tensor, by its type's: F32, F16, I8 to I64, F64, BF16. An export has no quantised ones.
_NUMBER_BYTES = {0: 4, 1: 2, 24: 1, 25: 2, 26: 4, 27: 8, 28: 8, 30: 2}
_MOST_DIMENSIONS = 4
_ALIGNMENT, _ALIGNED_TO = "general.alignment", 32


class BrokenGguf(ValueError):
    """A file that is no GGUF file, or not a whole one; the text says why."""


class _Tensor(NamedTuple):
    name: str
    first: int
    size: int


def check_header(path: Path) -> int:
    """Return how many tensors a file has. Reads the header alone; blocks.

    Raises:
        BrokenGguf: the header cannot be read, or is not about the bytes that follow it.
        OSError: the file cannot be opened.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        header = _Header(file, min(size, _MOST_HEADER_BYTES))
        if header.take(len(_MAGIC)) != _MAGIC:
            raise BrokenGguf("it does not begin with GGUF")
        if (version := header.number(4)) not in _VERSIONS:
            raise BrokenGguf(f"it is of version {version}, not 2 or 3")
        tensors, entries = header.number(8), header.number(8)
        alignment = _alignment(header, entries)
        places = [_tensor(header) for _ in range(tensors)]
        begin = _aligned(header.read, alignment)
    _check_places(places, alignment, size - begin)
    return tensors


class _Header:
    """A file's first bytes, one value after the other. Methods raise BrokenGguf where there is no more of them."""

    def __init__(self, file: BinaryIO, most: int) -> None:
        self._file, self._most, self.read = file, most, 0

    def take(self, count: int) -> bytes:
        """Return so many bytes."""
        self._go_on(count)
        return self._file.read(count)

    def skip(self, count: int) -> None:
        """Pass over so many bytes."""
        self._go_on(count)
        self._file.seek(count, os.SEEK_CUR)

    def number(self, size: int) -> int:
        """Return an unsigned number of so many bytes."""
        return int.from_bytes(self.take(size), "little")

    def text(self) -> str:
        """Return a string."""
        try:
            return self.take(self.number(8)).decode()
        except UnicodeDecodeError as error:
            raise BrokenGguf(f"its header cannot be read: {error}") from error

    def _go_on(self, count: int) -> None:
        self.read += count
        if self.read > self._most:
            raise BrokenGguf(f"its header should have {self.read} bytes or more, and {self._most} are there")


def _alignment(header: _Header, entries: int) -> int:
    """Read the metadata, and return what tensors are aligned to."""
    seen: set[str] = set()
    alignment = _ALIGNED_TO
    for _ in range(entries):
        name, kind = header.text(), header.number(4)
        if name in seen:
            raise BrokenGguf(f"its metadata have {name!r} twice")
        seen.add(name)
        if name == _ALIGNMENT and kind == _UINT32:
            alignment = header.number(_VALUE_BYTES[kind])
        else:
            _pass_over(header, kind, 0)
    if alignment == 0 or alignment % 8:
        raise BrokenGguf(f"its tensors are aligned to {alignment} bytes, which is no multiple of 8")
    return alignment


def _pass_over(header: _Header, kind: int, depth: int) -> None:
    if kind in _VALUE_BYTES:
        header.skip(_VALUE_BYTES[kind])
    elif kind == _STRING:
        # Bytes: tokens of a byte-level vocabulary need not be text.
        header.skip(header.number(8))
    elif kind == _ARRAY and depth < _MOST_NESTED:
        inner, count = header.number(4), header.number(8)
        if inner in _VALUE_BYTES:
            header.skip(_VALUE_BYTES[inner] * count)
        else:
            for _ in range(count):
                _pass_over(header, inner, depth + 1)
    else:
        raise BrokenGguf(f"its metadata have a value of the unknown type {kind}")


def _tensor(header: _Header) -> _Tensor:
    name, dimensions = header.text(), header.number(4)
    if not 1 <= dimensions <= _MOST_DIMENSIONS:
        raise BrokenGguf(f"{name!r} has {dimensions} dimensions")
    shape = [header.number(8) for _ in range(dimensions)]
    kind, first = header.number(4), header.number(8)
    if kind not in _NUMBER_BYTES:
        raise BrokenGguf(f"{name!r} is of type {kind}, which no export has")
    return _Tensor(name, first, prod(shape) * _NUMBER_BYTES[kind])


def _check_places(tensors: list[_Tensor], alignment: int, data_bytes: int) -> None:
    if not tensors:
        raise BrokenGguf("it has no tensors")
    if len({tensor.name for tensor in tensors}) != len(tensors):
        raise BrokenGguf("a tensor's name is there twice")
    reached = end = 0
    for tensor in sorted(tensors, key=lambda each: each.first):
        if tensor.first != reached:
            raise BrokenGguf(f"{tensor.name!r} begins at byte {tensor.first}, the tensor before it ends at {reached}")
        end = tensor.first + tensor.size
        reached = _aligned(end, alignment)
    if not end <= data_bytes <= reached:
        raise BrokenGguf(f"its tensors have {end} bytes, and {data_bytes} are there")


def _aligned(place: int, alignment: int) -> int:
    return -(-place // alignment) * alignment
