"""``worker bucket create``."""

import asyncio
import sys
from typing import Annotated

import msgspec
import typer

from worker.settings import Settings

app = typer.Typer(
    no_args_is_help=True,
    help="The bucket: make it.",
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback()
def _one_of_several() -> None:
    """Let ``create`` have to be said: a group with one command would swallow its name."""


@app.command("create")
def create(json: Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")] = False) -> None:
    """Create the bucket of WORKER_STORAGE_URL where it is missing, without a policy. May be repeated.

    Exit code 2: it could not be created.

    Example: WORKER_STORAGE_URL=s3://worker worker bucket create
    """
    from handlers.errors import Unavailable  # noqa: PLC0415 - what brings much is imported where it is used
    from worker.storage.make_bucket import make_bucket  # noqa: PLC0415 - the same

    settings = Settings.from_environment()
    try:
        created = asyncio.run(make_bucket(settings))
    except Unavailable as error:
        typer.echo(f"worker bucket: {error}", err=True)
        raise typer.Exit(2) from None
    if json:
        sys.stdout.write(msgspec.json.encode({"bucket": settings.storage_url, "created": created}).decode() + "\n")
    else:
        typer.echo(f"{settings.storage_url} {'created' if created else 'is there'}", err=True)
