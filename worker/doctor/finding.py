"""What a check says."""

from typing import Literal

from msgspec import Struct

#: ``note``: it can be used, and is perhaps not what was meant. ``unchecked``: nobody knows, and the text says why.
Mark = Literal["ok", "note", "wrong", "unchecked"]


class Finding(Struct, frozen=True, omit_defaults=True):
    """What is known of one thing, and what a person can do about it."""

    about: str
    mark: Mark
    text: str
    remedy: str | None = None


def ok(about: str, text: str) -> Finding:
    """Return that it is as it must be."""
    return Finding(about, "ok", text)


def note(about: str, text: str, remedy: str) -> Finding:
    """Return that it can be used, and deserves a look."""
    return Finding(about, "note", text, remedy)


def wrong(about: str, text: str, remedy: str) -> Finding:
    """Return that it is not as it must be."""
    return Finding(about, "wrong", text, remedy)


def unchecked(about: str, text: str, remedy: str | None = None) -> Finding:
    """Return that it could not be looked at."""
    return Finding(about, "unchecked", text, remedy)
