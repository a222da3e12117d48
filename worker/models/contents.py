"""What is in a file of a model, whatever it is called: nothing that runs code when it is loaded may be."""

import json
from pathlib import Path

from worker.models.gguf_header import BrokenGguf
from worker.models.gguf_header import check_header as check_gguf
from worker.models.safetensors_header import BrokenSafetensors, check_header

_HEAD_BYTES = 8
#: How pickles of protocol 2 and later begin. Older ones are text: under a name of text, nobody unpickles them.
_BEGINNINGS = (
    *((bytes((0x80, protocol)), f"a pickle of protocol {protocol}") for protocol in (2, 3, 4, 5)),
    (b"PK\x03\x04", "a zip archive, as torch packs pickles"),
    (b"\x1f\x8b", "a gzip file, as pickles are packed"),
    (b"\x28\xb5\x2f\xfd", "a zstd file, as pickles are packed"),
    (b"\x93NUMPY", "a NumPy file, which may hold pickles"),
)
#: Text and JSON of a model; tokenizers of large vocabularies have some 20 MB.
_MOST_TEXT_BYTES = 1 << 30

_JSON, _TEXT = (".json",), (".txt", ".md", ".jinja")
#: A tokenizer of SentencePiece: a protobuf, read by a library that runs nothing of it.
_PROTOBUF = ("tokenizer.model",)


class BadContent(ValueError):
    """A file that is not what its name says, or may not be in a model. ``code`` is for programs."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


def check_content(path: Path, name: str) -> None:
    """Make sure that a file is what its name says, and no pickle. ``name`` is its path in the model. Blocks.

    Raises:
        BadContent: it is not.
        OSError: it cannot be read.
    """
    try:
        if name.endswith(".safetensors"):
            check_header(path)
        elif name.endswith(".gguf"):
            check_gguf(path)
        elif name.endswith(_JSON + _TEXT):
            _check_text(path, name)
        elif not name.endswith(_PROTOBUF):
            raise BadContent("unknown-kind", "nothing of this name belongs to a model")
    except BrokenSafetensors as error:
        raise _pickled(path) or BadContent("broken-safetensors", str(error)) from error
    except BrokenGguf as error:
        raise _pickled(path) or BadContent("broken-gguf", str(error)) from error
    except BadContent as error:
        raise _pickled(path) or error from error
    if name.endswith(_PROTOBUF) and (pickled := _pickled(path)):
        raise pickled


def _pickled(path: Path) -> BadContent | None:
    """Return what is to be said of a file that begins as pickles do, or as what torch and others pack them into.

    Asked only of what is not what its name says: the length that safetensors begin with may look like anything.
    """
    with path.open("rb") as file:
        head = file.read(_HEAD_BYTES)
    found = next((kind for begin, kind in _BEGINNINGS if head.startswith(begin)), None)
    return BadContent("pickle", f"it is {found}, which can run code when it is loaded") if found else None


def _check_text(path: Path, name: str) -> None:
    if path.stat().st_size > _MOST_TEXT_BYTES:
        raise BadContent("not-text", "it is too large for what its name says")
    try:
        text = path.read_bytes().decode()
        if name.endswith(_JSON):
            json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BadContent("not-json" if name.endswith(_JSON) else "not-text", f"it cannot be read: {error}") from error
