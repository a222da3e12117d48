"""``worker publish``: check an event against its contract and publish it."""

import asyncio
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from worker.commands.exits import NOT_RIGHT
from worker.commands.output import AsJson, print_json
from worker.could_not import CouldNot
from worker.settings import Settings
from worker.validate.excerpt import safe

# What brings the broker's client is imported where it is used: other commands should not wait for it.
if TYPE_CHECKING:
    from worker.publish import PublishedEvent


def publish(
    topic: Annotated[str, typer.Argument(help="The topic, for example task.created.")],
    file: Annotated[str, typer.Argument(help="A file with one JSON object, or one a line; - is standard input.")],
    event_id: Annotated[
        str | None, typer.Option("--id", help="The event's id; by default it follows from topic, key and body.")
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Publish a form that has faults, which are said, to see it refused.")
    ] = False,
    json: AsJson = False,
) -> None:
    """Check events against their contract, then publish them.

    Nothing is published if one of them is faulty. Fields that the contract does not know are ignored by whoever reads
    the event, and said on stderr: most are misspelt. Publishing a file again repeats its events under the same ids,
    which changes nothing.

    Exit code 0: published; 1: a fault, named with its field and remedy; 2: there is no such topic, or the file or the
    broker could not be reached. With --json, {"error", "faults", "notes"} says the same to programs.

    \b
    Examples:
      worker publish task.created form.json
      jq -c .event log.json | worker publish training.progress -
    """
    from worker import publish as publishing  # noqa: PLC0415 - the reason is above

    for unknown in Settings.unknown():
        typer.echo(f"worker publish: {unknown}", err=True)
    content, notes = _read(file), []
    try:
        notes = publishing.ignored_in(topic, content)
        for note in notes:
            _say(note)
        faults = publishing.faults_in(topic, content) if force else []
        published = asyncio.run(
            publishing.publish_file(Settings.from_environment(), topic, content, event_id=event_id, force=force)
        )
    except publishing.NotPublishable as error:
        _say_refused(str(error).splitlines(), notes, as_json=json)
        raise typer.Exit(NOT_RIGHT) from error
    for fault in faults:
        _say(f"will be refused: {fault}")
    _say_published(published, faults, notes, as_json=json)


def _read(file: str) -> bytes:
    try:
        return sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
    except OSError as error:
        raise CouldNot(f"{file}: {error.strerror}") from error


def _say(text: str) -> None:
    typer.echo(safe(f"worker publish: {text}"), err=True)


def _say_refused(faults: list[str], notes: list[str], *, as_json: bool) -> None:
    if as_json:
        print_json({"error": f"not published: {'; '.join(faults)}", "faults": faults, "notes": notes})
    if len(faults) == 1:
        _say(f"not published: {faults[0]}")
        return
    _say("not published:")
    for fault in faults:
        typer.echo(safe(fault), err=True)


def _say_published(published: "list[PublishedEvent]", faults: list[str], notes: list[str], *, as_json: bool) -> None:
    if as_json:
        print_json({"published": [event._asdict() for event in published], "faults": faults, "notes": notes})
        return
    for event in published:
        typer.echo(f"{event.topic}[{event.partition}]@{event.offset}  key {event.key}  id {event.id}", err=True)
