"""The header of a safetensors file, read without any library: eight bytes of length, JSON, then the tensors' bytes.

https://huggingface.co/docs/safetensors: tensors follow each other without holes, and fill the file to its end. So a
file that was cut, lengthened or put together of two is found without looking at a single weight.
"""

import json
from math import prod
from pathlib import Path
from typing import Any

#: What the format's own reader takes at most.
_MOST_HEADER_BYTES = 100_000_000
_LENGTH_BYTES = 8

_BITS = {
    "BOOL": 8, "U8": 8, "I8": 8, "F8_E5M2": 8, "F8_E4M3": 8, "F8_E8M0": 8, "F4": 4, "F6_E2M3": 6, "F6_E3M2": 6,
    "U16": 16, "I16": 16, "F16": 16, "BF16": 16, "U32": 32, "I32": 32, "F32": 32, "U64": 64, "I64": 64, "F64": 64,
    "C64": 64,
}  # fmt: skip


class BrokenSafetensors(ValueError):
    """A file that is no safetensors file, or not a whole one; the text says why."""


def check_header(path: Path) -> int:
    """Return how many tensors a file has. Reads the header alone; blocks.

    Raises:
        BrokenSafetensors: the header cannot be read, or is not about the bytes that follow it.
        OSError: the file cannot be opened.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(_LENGTH_BYTES), "little")
        if size < _LENGTH_BYTES or length > min(size - _LENGTH_BYTES, _MOST_HEADER_BYTES):
            raise BrokenSafetensors(f"its header should have {length} bytes, and the file has {size}")
        header = _object(file.read(length))
    metadata = header.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise BrokenSafetensors("its metadata are not texts by name")
    _check_places({name: _place(name, entry) for name, entry in header.items()}, size - _LENGTH_BYTES - length)
    return len(header)


def _object(body: bytes) -> dict[str, Any]:
    try:
        header = json.loads(body.decode(), object_pairs_hook=_once)
    except (ValueError, RecursionError) as error:
        raise BrokenSafetensors(f"its header cannot be read: {error}") from error
    if not body.startswith(b"{") or not isinstance(header, dict):
        raise BrokenSafetensors("its header is no JSON object")
    return header


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name is there twice")
    return found


def _place(name: str, entry: Any) -> tuple[int, int]:
    match entry:
        case {"dtype": str(dtype), "shape": list(shape), "data_offsets": [int(first), int(end)]} if len(
            entry
        ) == 3 and all(type(side) is int and side >= 0 for side in shape):
            bits = _BITS.get(dtype)
            if bits is None:
                raise BrokenSafetensors(f"{name} has the unknown type {dtype}")
            if (end - first) * 8 != prod(shape) * bits:
                raise BrokenSafetensors(f"{name} has {end - first} bytes, which {shape} of {dtype} do not have")
            return first, end
    raise BrokenSafetensors(f"{name} is not described by dtype, shape and data_offsets")


def _check_places(places: dict[str, tuple[int, int]], data_bytes: int) -> None:
    reached = 0
    for name, (first, end) in sorted(places.items(), key=lambda item: item[1]):
        if first != reached:
            raise BrokenSafetensors(f"{name} begins at byte {first}, the tensor before it ends at {reached}")
        reached = end
    if reached != data_bytes:
        raise BrokenSafetensors(f"its tensors have {reached} bytes, and {data_bytes} are there")
