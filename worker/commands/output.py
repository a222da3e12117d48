"""What commands print for programs."""

import sys
from typing import Annotated, Any

import msgspec
import typer

#: The option that every command has which says something.
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")]


def print_json(body: Any) -> None:
    """Print one JSON object as a line on stdout."""
    sys.stdout.write(msgspec.json.encode(body).decode() + "\n")
