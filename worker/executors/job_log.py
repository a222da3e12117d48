"""What a job printed, read piece by piece from the file it is in."""

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
    whole = data[: len(data) - _half_character(data)]
    return whole.decode(errors="replace"), cursor + len(whole)


def _half_character(data: bytes) -> int:
    """Return how many bytes at the end are the beginning of an unfinished UTF-8 character."""
    for length in range(1, min(4, len(data) + 1)):
        byte = data[-length]
        if byte >= 0xC0:
            needed = 2 if byte < 0xE0 else 3 if byte < 0xF0 else 4
            return length if length < needed else 0
        if byte < 0x80:
            return 0
    return 0
