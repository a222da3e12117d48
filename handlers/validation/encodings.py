"""What the bytes of a line that is not UTF-8 text may be instead, and what to do about it. Pure."""

from codecs import getincrementaldecoder
from collections.abc import Iterator

_UTF16 = "UTF-16: save the file as UTF-8"

#: What files that are no text begin with.
_MAGIC = {
    b"\xff\xfe": _UTF16,
    b"\xfe\xff": _UTF16,
    b"\x1f\x8b": "gzip: unpack the file",
    b"PK\x03\x04": "a ZIP archive or a spreadsheet: write JSONL",
    b"PAR1": "Parquet: write JSONL",
}

#: Of UTF-16 every other byte of ASCII is NUL: so many bytes at the beginning of a line are looked at.
_HEAD_BYTES = 32

#: So much of a line is decoded to see what it is in.
_SEEN_BYTES = 4096

#: Bytes below a space that text has none of; only the first line of a packed file begins with what names it.
_NO_TEXT = bytes(set(range(32)) - set(b"\t\n\f\r"))


def encoding_hint(body: bytes) -> str:
    """Return what to do about a line that is not UTF-8, or is UTF-16. Never raises."""
    if named := next((hint for start, hint in _MAGIC.items() if body.startswith(start)), None):
        return f"this looks like {named}"
    if is_utf16(body):
        return f"this looks like {_UTF16}"
    if body.translate(None, _NO_TEXT) != body:
        return "this is no text: unpack what is packed, and write JSONL as UTF-8"
    if is_gb18030(body):
        return "this looks like GB18030 (GBK): save the file as UTF-8"
    return "save the file as UTF-8"


def is_utf16(body: bytes) -> bool:
    """Return whether a line looks like UTF-16 or UTF-32 without a byte-order mark: text has no NULs, these are full."""
    head = body[:_HEAD_BYTES]
    return 0 < len(head) <= 4 * head.count(0)


def is_gb18030(body: bytes) -> bool:
    """Return whether a line looks like Chinese as Windows writes it: most that is not ASCII is a common ideograph.

    The common ones are GB 2312's first level. Accented and Cyrillic letters, taken for GB18030, are mostly others, or
    nothing; Korean's syllables in EUC-KR are some of them, and are not told apart.
    """
    try:
        common = list(_common(body[:_SEEN_BYTES]))
    except UnicodeDecodeError:
        return False
    return 2 * sum(common) > len(common)


def _common(body: bytes) -> Iterator[bool]:
    """Say of each character beyond ASCII whether it is a common ideograph. Raises UnicodeDecodeError."""
    # What was cut off at the end is no fault; what cannot be read before it is one.
    cut = len(body) == _SEEN_BYTES
    for character in getincrementaldecoder("gb18030")().decode(body, final=not cut):
        if not character.isascii():
            written = character.encode("gb18030")
            yield len(written) == 2 and 0xB0 <= written[0] <= 0xD7 and written[1] > 0xA0
