"""Names in messages: the known one a misspelt one was meant for, and text that is safe to show."""

from collections.abc import Iterable
from difflib import get_close_matches


def nearest(name: str, known: Iterable[str]) -> str | None:
    """Return the known name closest to a misspelt one, upper and lower case alike, or None where none is close."""
    folded: dict[str, str] = {}
    for candidate in known:
        folded.setdefault(candidate.casefold(), candidate)
    # Comparing takes quadratic time; what is far longer than any name is no misspelling of one.
    found = get_close_matches(name[:200].casefold(), folded, n=1, cutoff=0.6)
    return folded[found[0]] if found else None


def clip(text: str, length: int = 100) -> str:
    """Return a text short enough to be shown, and encodable: lone surrogates become their escapes."""
    shown = text[: length + 1].encode("utf-8", "backslashreplace").decode()
    return shown if len(text) <= length else shown[:length] + "..."
