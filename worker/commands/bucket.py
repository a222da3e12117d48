"""``worker bucket create``."""

import asyncio

import typer

from worker.commands.output import AsJson, print_json
from worker.settings import Settings

app = typer.Typer(
    no_args_is_help=True,
    help="Make the bucket.",
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback()
def _one_of_several() -> None:
    """Let ``create`` have to be said: a group with one command would swallow its name."""


@app.command("create")
def create(json: AsJson = False) -> None:
    """Create the bucket where it is missing.

    It is that of WORKER_STORAGE_URL, and gets no policy. May be repeated.

    Exit code 0: it is there; 2: it could not be created.

    \b
    Example:
      WORKER_STORAGE_URL=s3://worker worker bucket create
    """
    from worker.storage.make_bucket import make_bucket  # noqa: PLC0415 - what brings much is imported where it is used

    settings = Settings.from_environment()
    created = asyncio.run(make_bucket(settings))
    if json:
        print_json({"bucket": settings.storage_url, "created": created})
    else:
        typer.echo(f"{settings.storage_url} {'created' if created else 'is there'}", err=True)
