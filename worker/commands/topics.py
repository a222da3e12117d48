"""``worker topics create | check | describe``."""

import asyncio
import sys
from collections.abc import Coroutine
from typing import Annotated, Any, TypeVar

import msgspec
import typer

from contracts.topics import TOPICS
from worker.settings import Settings

app = typer.Typer(
    no_args_is_help=True,
    help="The topics on the broker: make them, check them, describe them.",
    context_settings={"help_option_names": ["-h", "--help"]},
)

Result = TypeVar("Result")
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")]


@app.command("create")
def create(json: AsJson = False) -> None:
    """Create what is missing, dead-letter and delay topics too. What is there stays as it is; may be repeated.

    Example: KAFKA_BOOTSTRAP_SERVERS=broker:9092 worker topics create
    """
    from handlers.table import STAGES  # noqa: PLC0415 - with the broker's client: other commands should not wait
    from worker.broker import Brokers  # noqa: PLC0415 - the same
    from worker.delivery import later  # noqa: PLC0415 - the same
    from worker.topics import ensure_topics  # noqa: PLC0415 - the same

    brokers = Brokers.of(Settings.from_environment())
    created = _run(ensure_topics(brokers, delays=later.names(STAGES)))
    if json:
        _print({"created": created})
        return
    for name in created:
        typer.echo(f"created {name}")
    typer.echo(f"{len(created)} topics created on {brokers.servers}", err=True)


@app.command("check")
def check(json: AsJson = False) -> None:
    """Compare the topics with what the contracts want. Changes nothing.

    Exit code 1: one is missing, or set up so that events would get lost; each with its remedy.

    Example: worker topics check
    """
    from worker.broker import Brokers  # noqa: PLC0415 - with the broker's client
    from worker.topic_check import wrong_topics  # noqa: PLC0415 - the same

    wrong = _run(wrong_topics(Brokers.of(Settings.from_environment())))
    if json:
        _print({"valid": not wrong, "wrong": [each._asdict() for each in wrong]})
    else:
        for each in wrong:
            typer.echo(f"{each.topic}: {each.setting} is {each.found}, should be {each.wanted}: {each.remedy}")
        typer.echo(f"{len(wrong)} settings are wrong" if wrong else "all topics are as they should be", err=True)
    raise typer.Exit(1 if wrong else 0)


@app.command("describe")
def describe(json: AsJson = False) -> None:
    """Say what each topic is for, who publishes it, and how it should be kept. Asks no broker.

    Example: worker topics describe --json
    """
    rows = [
        {
            "topic": topic.name,
            "key": topic.key_field,
            "publisher": topic.publisher,
            "contract": topic.contract.__name__,
            "meaning": topic.meaning,
            "partitions": topic.partitions,
            "cleanup": "compact" if topic.compacted else "delete",
            "dead_letter": topic.dead_letter,
        }
        for topic in TOPICS.values()
    ]
    if json:
        _print({"topics": rows})
        return
    for row in rows:
        typer.echo(f"{row['topic']:<20} key {row['key']:<11} by {row['publisher']:<10} {row['meaning']}")
        typer.echo(f"{'':<20} {row['contract']}, {row['partitions']} partitions, {row['cleanup']}")


def _run(work: Coroutine[Any, Any, Result]) -> Result:
    from worker.broker import BrokerUnavailable  # noqa: PLC0415 - with the broker's client
    from worker.topics import TopicCreationError  # noqa: PLC0415 - the same

    try:
        return asyncio.run(work)
    except (BrokerUnavailable, TopicCreationError) as error:
        typer.echo(f"worker topics: {error}", err=True)
        raise typer.Exit(2) from None


def _print(body: Any) -> None:
    sys.stdout.write(msgspec.json.encode(body).decode() + "\n")
