"""What a job printed, read piece by piece."""

import codecs
from pathlib import Path

#: Most bytes read at a time.
LOG_BYTES = 1 << 20


def read_log(path: Path, cursor: int) -> tuple[str, int]:
    """Return at most LOG_BYTES of a log from byte ``cursor`` on, and the byte to go on from.

    A character that is only half written yet is left for the next call. A file that is not there is an empty one.
    """
    try:
        with path.open("rb") as file:
            file.seek(cursor)
            data = file.read(LOG_BYTES)
    except FileNotFoundError:
        return "", cursor
    text, used = whole_text(data)
    return text, cursor + used


def whole_text(data: bytes) -> tuple[str, int]:
    """Return the text of the bytes and how many of them it is. Pure.

    A character that is only half written yet is left for the next reading; what is no UTF-8 is replaced.
    """
    decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
    text = decoder.decode(data)
    half, _ = decoder.getstate()
    return text, len(data) - len(half)
