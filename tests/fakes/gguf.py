"""GGUF files small enough for unit tests, and converters that do what a test says."""

import struct
from pathlib import Path
from typing import Any

U32, STRING, ARRAY, F32, F16 = 4, 8, 9, 0, 1


def text(words: str | bytes) -> bytes:
    body = words.encode() if isinstance(words, str) else words
    return struct.pack("<Q", len(body)) + body


def entry(name: str, kind: int, value: bytes) -> bytes:
    """Return a piece of metadata."""
    return text(name) + struct.pack("<I", kind) + value


def tensor(name: str, shape: tuple[int, ...], kind: int, first: int) -> bytes:
    """Return what says where a tensor is."""
    return text(name) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, kind, first)


METADATA = (
    entry("general.architecture", STRING, text("llama")),
    # Tokens of a byte-level vocabulary need not be text.
    entry("tokenizer.ggml.tokens", ARRAY, struct.pack("<IQ", STRING, 2) + text("a") + text(b"\xff")),
    entry("tokenizer.ggml.token_type", ARRAY, struct.pack("<IQ", 5, 2) + bytes(8)),
)
TENSORS = (tensor("w", (3, 2), F16, 0), tensor("norm", (2,), F32, 32))
DATA = bytes(32) + bytes(8)


def gguf(
    metadata: tuple[bytes, ...] = METADATA,
    tensors: tuple[bytes, ...] = TENSORS,
    data: bytes = DATA,
    *,
    version: int = 3,
    align: int = 32,
    **counts: Any,
) -> bytes:
    """Return a GGUF file; ``counts`` say other numbers of ``tensors`` or ``entries`` than it has."""
    numbers = (counts.get("n_tensors", len(tensors)), counts.get("n_entries", len(metadata)))
    head = b"GGUF" + struct.pack("<IQQ", version, *numbers) + b"".join(metadata) + b"".join(tensors)
    return head + bytes(-len(head) % align) + data


def converter(folder: Path, code: str) -> Path:
    """Write a script that is called as llama.cpp's is: ``outfile``, ``outtype`` and ``model`` are what it was given."""
    path = folder / "convert_hf_to_gguf.py"
    path.write_text(
        "import argparse, os, pathlib, signal, subprocess, sys, time\n"
        "parser = argparse.ArgumentParser()\n"
        "parser.add_argument('--outfile', type=pathlib.Path)\n"
        "parser.add_argument('--outtype', choices=['f16', 'bf16', 'f32'])\n"
        "parser.add_argument('model', type=pathlib.Path)\n"
        "given = parser.parse_args()\n"
        f"{code}\n"
    )
    return path
