"""The command line: ``worker run``, ``validate``, ``replay`` and others. Results go to stdout, all else to stderr.

Exit codes everywhere: 0 done, 1 the thing asked about is not right, 2 could not do it.
"""

import sys
from importlib.metadata import version
from typing import Annotated

import typer

from worker.commands import (
    bucket,
    console,
    dead_letters,
    demo,
    estimate,
    explain,
    models,
    publish,
    replay,
    run,
    topics,
    validate,
)
from worker.settings import SettingsError

app = typer.Typer(
    name="worker",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"worker {version('finetune-worker')}")
        raise typer.Exit


@app.callback()
def _options(
    _: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Event-driven worker for model fine-tuning platforms."""


app.command("run")(run.run)
app.command("validate")(validate.validate)
app.command("estimate")(estimate.estimate)
app.command("publish")(publish.publish)
app.command("replay")(replay.replay)
app.command("explain")(explain.explain)
app.add_typer(topics.app, name="topics")
app.add_typer(bucket.app, name="bucket")
app.add_typer(models.app, name="models")
app.add_typer(dead_letters.app, name="dead-letters")
app.command("console")(console.console)
app.command("demo")(demo.demo)


def main() -> None:
    """Run the command line. A setting that cannot be used is one line on stderr and exit code 2."""
    try:
        app()
    except SettingsError as error:
        print(f"worker: {error}", file=sys.stderr)  # noqa: T201 - the command line speaks to people
        sys.exit(2)
