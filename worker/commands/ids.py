"""Ids as people type them on a command line."""

import msgspec
import typer

from contracts.envelope import Id


def an_id(said: str) -> str:
    """Return what was said where it can be an id; nothing else names anything. Raises typer.BadParameter."""
    try:
        return msgspec.convert(said, Id)
    except msgspec.ValidationError:
        raise typer.BadParameter("no id: ids are 1-128 characters of A-Z a-z 0-9 . _ -") from None
