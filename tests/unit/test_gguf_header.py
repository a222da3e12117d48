"""The header of a GGUF file: a whole one is read, and whatever is not one is said, whatever it says of itself."""

import struct
from pathlib import Path

import pytest

from tests.fakes.gguf import ARRAY, DATA, F16, F32, METADATA, STRING, TENSORS, U32, entry, gguf, tensor, text
from worker.models.gguf_header import BrokenGguf, check_header

HUGE = 1 << 60


def aligned(value: int) -> bytes:
    return entry("general.alignment", U32, struct.pack("<I", value))


def written(tmp_path: Path, body: bytes) -> Path:
    path = tmp_path / "model.gguf"
    path.write_bytes(body)
    return path


WHOLE = {
    "as the converter writes it": gguf(),
    "version 2": gguf(version=2),
    "filled up to the alignment": gguf(data=DATA + bytes(24)),
    "aligned otherwise": gguf((*METADATA, aligned(8)), (TENSORS[0], tensor("norm", (2,), F32, 16)), bytes(24), align=8),
    "tensors in another order": gguf(tensors=TENSORS[::-1]),
    "arrays of arrays": gguf((entry("x", ARRAY, struct.pack("<IQIQ", ARRAY, 1, STRING, 1) + text("a")),)),
}


@pytest.mark.parametrize("body", WHOLE.values(), ids=WHOLE)
def test_a_whole_file_is_read(tmp_path: Path, body: bytes) -> None:
    assert check_header(written(tmp_path, body)) == 2


BROKEN = {
    "empty": (b"", "its header should have 4 bytes"),
    "another format": (b"PK\x03\x04" + bytes(60), "does not begin with GGUF"),
    "version 1": (gguf(version=1), "version 1"),
    "the other byte order": (gguf(version=3 << 24), "version 50331648"),
    "cut in the header": (gguf()[:60], "its header should have"),
    "cut in the data": (gguf()[:-1], "its tensors have 40 bytes, and 39 are there"),
    "lengthened": (gguf(data=DATA + bytes(25)), "and 65 are there"),
    "no tensors": (gguf(tensors=(), data=b""), "it has no tensors"),
    "more tensors than there are": (gguf(n_tensors=HUGE), "has 0 dimensions"),
    "more metadata than there are": (gguf(n_entries=HUGE), "its header should have"),
    "a text without an end": (gguf((struct.pack("<Q", HUGE),)), "its header should have"),
    "an array without an end": (
        gguf((entry("x", ARRAY, struct.pack("<IQ", U32, HUGE)),)),
        "its header should have",
    ),
    "arrays in arrays without an end": (
        gguf((entry("x", ARRAY, struct.pack("<IQ", ARRAY, 1) * 50),)),
        "unknown type 9",
    ),
    "a value of no type": (gguf((entry("x", 13, b""),)), "unknown type 13"),
    "metadata twice": (gguf((METADATA[0], METADATA[0])), "'general.architecture' twice"),
    "a name that is no text": (gguf((text(b"\xff"),)), "cannot be read"),
    "no alignment": (gguf((aligned(0),)), "aligned to 0 bytes"),
    "an odd alignment": (gguf((aligned(12),)), "aligned to 12 bytes"),
    "a hole": (gguf(tensors=(TENSORS[0], tensor("norm", (2,), F32, 64))), "begins at byte 64"),
    "two in one place": (gguf(tensors=(TENSORS[0], tensor("norm", (2,), F32, 0))), "begins at byte 0"),
    "one name twice": (gguf(tensors=(TENSORS[0], tensor("w", (2,), F32, 32))), "name is there twice"),
    "a tensor beyond the end": (gguf(tensors=(tensor("w", (HUGE, 2), F16, 0),)), f"have {HUGE * 4} bytes"),
    "no dimensions": (gguf(tensors=(tensor("w", (), F16, 0),)), "has 0 dimensions"),
    "more dimensions than there can be": (gguf(tensors=(tensor("w", (1,) * 5, F16, 0),)), "has 5 dimensions"),
    "quantised": (gguf(tensors=(tensor("w", (32,), 2, 0),)), "is of type 2"),
}


@pytest.mark.parametrize(("body", "words"), BROKEN.values(), ids=BROKEN)
def test_what_is_no_whole_file_is_said(tmp_path: Path, body: bytes, words: str) -> None:
    with pytest.raises(BrokenGguf, match=words):
        check_header(written(tmp_path, body))


def test_every_cut_is_found(tmp_path: Path) -> None:
    whole = gguf()
    for length in range(len(whole)):
        with pytest.raises(BrokenGguf):
            check_header(written(tmp_path, whole[:length]))
