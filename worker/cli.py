"""The command line: ``worker run``, ``validate``, ``replay`` and others. Results go to stdout, all else to stderr.

Exit codes everywhere: 0 done, 1 the thing asked about is not right, 2 could not do it (worker/commands/exits.py).
"""

from importlib.metadata import version
from typing import Annotated

import typer

from worker.client_logs import quiet_client
from worker.commands import (
    bucket,
    completion,
    console,
    dead_letters,
    demo,
    doctor,
    estimate,
    explain,
    models,
    publish,
    replay,
    run,
    tasks,
    topics,
    validate,
)
from worker.commands.exits import CommandLine

app = typer.Typer(
    name="worker",
    cls=CommandLine,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    # Plain help: examples keep their lines, brackets are no markup, and no command waits for rich.
    rich_markup_mode=None,
    add_completion=False,
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
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of what ends a command.")] = False,
) -> None:
    """Event-driven worker for model fine-tuning platforms.

    \b
    Exit codes everywhere: 0 done, 1 the thing asked about is not right, 2 could not do it.
    Results go to stdout, all else to stderr; with --json one JSON object on stdout.
    """
    if not debug:
        quiet_client()


app.command("run")(run.run)
app.command("doctor")(doctor.doctor)
app.command("validate")(validate.validate)
app.command("estimate")(estimate.estimate)
app.command("publish")(publish.publish)
app.command("replay")(replay.replay)
app.command("explain")(explain.explain)
app.add_typer(tasks.app, name="tasks")
app.add_typer(topics.app, name="topics")
app.add_typer(bucket.app, name="bucket")
app.add_typer(models.app, name="models")
app.add_typer(dead_letters.app, name="dead-letters")
app.command("console")(console.console)
app.command("demo")(demo.demo)
app.command("completion")(completion.completion)


def main() -> None:
    """Run the command line, and exit."""
    completion.prepare()
    app(prog_name="worker")
