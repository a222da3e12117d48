"""Names in messages: the known one a misspelt one was meant for, and text that is safe to show."""

from collections.abc import Iterable
from difflib import get_close_matches

#: Fewer characters are a part of too many names.
_PART = 3


def nearest(name: str, known: Iterable[str]) -> str | None:
    """Return the known name closest to a misspelt one, upper and lower case alike, or None where none is close."""
    folded: dict[str, str] = {}
    for candidate in known:
        folded.setdefault(candidate.casefold(), candidate)
    # Comparing takes quadratic time; what is far longer than any name is no misspelling of one.
    found = get_close_matches(name[:200].casefold(), folded, n=1, cutoff=0.6)
    return folded[found[0]] if found else None


def alike(name: str, known: Iterable[str]) -> list[str]:
    """Return every known name that a misspelt one may be meant for: the nearest, and those of which it is a part."""
    known = tuple(known)
    close = nearest(name, known)
    if close and close.casefold() == name.casefold():
        return [close]
    parts = [each for each in known if len(name) >= _PART and name.casefold() in each.casefold()]
    return parts or ([close] if close else [])


def clip(text: str, length: int = 100) -> str:
    """Return a text short enough to be shown, and encodable: lone surrogates become their escapes."""
    shown = text[: length + 1].encode("utf-8", "backslashreplace").decode()
    return shown if len(text) <= length else shown[:length] + "..."
