"""What is kept of every line that is, or should have been, a sample: a row of fixed size, in a file beside the counts.

From these rows alone follows what becomes of each sample, and what it costs: nothing is read or tokenised again.
"""

import enum
import struct
from collections.abc import Mapping
from hashlib import sha256
from typing import Any

import msgspec

from contracts.dataset import Format
from contracts.datasets import preference, pretrain, ranking, sft

#: A row: the content's digest, the line (from 1), its tokens, those of the best and the worst candidate, its state.
ROW = struct.Struct("<16sIIII")

#: The same for numpy; the digest is two words.
ROW_FIELDS = [
    ("high", "<u8"),
    ("low", "<u8"),
    ("line", "<u4"),
    ("tokens", "<u4"),
    ("extremes", "<u4"),
    ("state", "<u4"),
]

NO_CONTENT = bytes(16)


class State(enum.IntEnum):
    """What a line is before anything is drawn."""

    KEPT = 0
    TOO_LONG = 1
    INVALID = 2


#: What of a sample makes two the same content: every field its contract knows, and no other.
CONTENT_FIELDS: dict[Format, tuple[str, ...]] = {
    "sft": sft.Sample.__struct_fields__,
    "preference": preference.Sample.__struct_fields__,
    "ranking": ranking.Sample.__struct_fields__,
    "pretrain": pretrain.Sample.__struct_fields__,
}

_encode = msgspec.json.Encoder(order="sorted").encode


def content_digest(format: Format, data: Mapping[str, Any]) -> bytes:
    """Return 16 bytes that are equal where two samples say the same.

    Neither the order of names nor white space matters, nor what the format does not know, such as a number of the
    user's own. Pure, and the same on any machine.
    """
    known = {name: data[name] for name in CONTENT_FIELDS[format] if data.get(name) is not None}
    return sha256(_encode(known)).digest()[:16]
