"""``worker publish``: check an event against its contract and publish it."""

import asyncio
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

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
    force: Annotated[bool, typer.Option("--force", help="Publish a form that has faults, to see it refused.")] = False,
    json: AsJson = False,
) -> None:
    """Check events against their contract, then publish them.

    Nothing is published if one of them is faulty. Fields that the contract does not know are ignored by whoever reads
    the event, and said on stderr: most are misspelt. Publishing a file again repeats its events under the same ids,
    which changes nothing.

    Exit code 0: published; 1: a fault, named with its field and remedy; 2: the file or the broker could not be reached.

    \b
    Examples:
      worker publish task.created form.json
      jq -c .event log.json | worker publish training.progress -
    """
    from worker.publish import BrokerUnavailable, NotPublishable, ignored_in, publish_file  # noqa: PLC0415 - the reason is above

    for unknown in Settings.unknown():
        typer.echo(f"worker publish: {unknown}", err=True)
    try:
        content = sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
        notes = ignored_in(topic, content)
        for note in notes:
            typer.echo(safe(f"worker publish: {note}"), err=True)
        published = asyncio.run(
            publish_file(Settings.from_environment(), topic, content, event_id=event_id, force=force)
        )
    except NotPublishable as error:
        _fail(f"not published:\n{error}" if "\n" in str(error) else f"not published: {error}", 1)
    except BrokerUnavailable:
        raise  # an OSError too, whose text is a sentence already
    except OSError as error:
        raise CouldNot(f"{file}: {error.strerror}") from error
    else:
        _say(published, notes, as_json=json)


def _say(published: "list[PublishedEvent]", notes: list[str], *, as_json: bool) -> None:
    if as_json:
        print_json({"published": [event._asdict() for event in published], "notes": notes})
        return
    for event in published:
        typer.echo(f"{event.topic}[{event.partition}]@{event.offset}  key {event.key}  id {event.id}", err=True)


def _fail(text: str, code: int) -> None:
    typer.echo(f"worker publish: {text}", err=True)
    raise typer.Exit(code)
