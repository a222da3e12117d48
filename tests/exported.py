"""A model as the export stage leaves one, in a folder: small enough for unit tests, and none that torch could load."""

import json
from pathlib import Path
from typing import Any

import msgspec

from contracts.model import Kept, Manifest
from contracts.probe import PROBE_FILE, Probe, ProbeCase, ProbeSequence
from contracts.training import FileDigest, OutputProbe
from handlers import layout
from handlers.manifests import MANIFEST, described

WEIGHTS, TOKENIZER = "model.safetensors", "tokenizer.json"


def safetensors(values: bytes = bytes(range(16)), **header: Any) -> bytes:
    """Return a safetensors file with one tensor, or with this header."""
    entries = header or {"w": {"dtype": "F32", "shape": [2, 2], "data_offsets": [0, 16]}}
    body = json.dumps(entries).encode()
    return len(body).to_bytes(8, "little") + body + values


def probe() -> Probe:
    sequence = ProbeSequence(ids=(1, 2), values=(-0.5,))
    return Probe(format="pretrain", tolerance=1e-3, cases=(ProbeCase(sample={"text": "a"}, sequences=(sequence,)),))


def contents() -> dict[str, bytes]:
    """Return the files of a model, by name."""
    return {
        WEIGHTS: safetensors(),
        TOKENIZER: b'{"model": {}}',
        "config.json": b"{}",
        "chat_template.jinja": b"{{ messages }}",
        "README.md": b"# m",
        PROBE_FILE: msgspec.json.encode(probe()),
    }


def export(folder: Path, files: dict[str, bytes] | None = None, **changes: Any) -> Path:
    """Write a model with its manifest into a folder, and return that."""
    files = contents() if files is None else files
    for name, body in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(body)
    fields: dict[str, Any] = {
        "model_id": folder.name,
        "task_id": "t-1",
        "project": "default",
        "attempt": 1,
        "step": 10,
        "kind": "full",
        "files": tuple(described(FileDigest(name, len(body), layout.sha256_hex(body))) for name, body in files.items()),
        "kept": Kept(by="last", rank=1, steps=(10,)),
        "metrics": {"loss": 0.5},
        "probe": OutputProbe(path=PROBE_FILE, tolerance=1e-3) if PROBE_FILE in files else None,
        "lineage": {"base_model": "tiny", "base_version": "1", "base_prefix": "base-models/tiny/1/"},
    }
    manifest = Manifest(**(fields | changes))
    (folder / MANIFEST).write_bytes(msgspec.json.encode(manifest))
    return folder
