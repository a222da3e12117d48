"""``worker topics create | check | describe | acls``."""

import asyncio

import typer

from contracts.topics import TOPICS
from worker.commands.output import AsJson, print_json
from worker.settings import Settings

app = typer.Typer(
    no_args_is_help=True,
    help="Make, check and describe the topics on the broker.",
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.command("create")
def create(json: AsJson = False) -> None:
    """Create the topics that are missing.

    Their dead-letter and delay topics too. What is there stays as it is; may be repeated.

    Exit code 0: all are there; 2: they could not be created.

    \b
    Example:
      KAFKA_BOOTSTRAP_SERVERS=broker:9092 worker topics create
    """
    from handlers.table import STAGES  # noqa: PLC0415 - with the broker's client: other commands should not wait
    from worker.delivery import later  # noqa: PLC0415 - the same
    from worker.kafka.broker import Brokers  # noqa: PLC0415 - the same
    from worker.kafka.topics import ensure_topics  # noqa: PLC0415 - the same

    brokers = Brokers.of(Settings.from_environment())
    created = asyncio.run(ensure_topics(brokers, delays=later.names(STAGES)))
    if json:
        print_json({"created": created})
        return
    for name in created:
        typer.echo(f"created {name}")
    typer.echo(f"{len(created)} topics created on {brokers.servers}", err=True)


@app.command("check")
def check(json: AsJson = False) -> None:
    """Compare the topics with what the contracts want.

    Changes nothing.

    Exit code 0: all are right; 1: one is missing, or set up so that events would get lost, each with its remedy;
    2: they could not be compared.

    \b
    Examples:
      worker topics check
      worker topics check --json | jq -r .wrong[].remedy
    """
    from worker.kafka.broker import Brokers  # noqa: PLC0415 - with the broker's client
    from worker.kafka.topic_check import wrong_topics  # noqa: PLC0415 - the same

    wrong = asyncio.run(wrong_topics(Brokers.of(Settings.from_environment())))
    if json:
        print_json({"valid": not wrong, "wrong": [each._asdict() for each in wrong]})
    else:
        for each in wrong:
            typer.echo(f"{each.topic}: {each.setting} is {each.found}, should be {each.wanted}: {each.remedy}")
        typer.echo(f"{len(wrong)} settings are wrong" if wrong else "all topics are as they should be", err=True)
    raise typer.Exit(1 if wrong else 0)


@app.command("describe")
def describe(json: AsJson = False) -> None:
    """Say what each topic is for.

    Also who publishes it, and how it should be kept. Asks no broker.

    Exit code 0.

    \b
    Examples:
      worker topics describe
      worker topics describe --json | jq -r .topics[].topic
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
        print_json({"topics": rows})
        return
    for row in rows:
        typer.echo(f"{row['topic']:<20} key {row['key']:<11} by {row['publisher']:<10} {row['meaning']}")
        typer.echo(f"{'':<20} {row['contract']}, {row['partitions']} partitions, {row['cleanup']}")


@app.command("acls")
def acls(json: AsJson = False) -> None:
    """Say who may do what with topics and groups.

    The least that each role needs: worker, trainer, platform, console, operator. The text is commands of Kafka's own
    tool, which let User:finetune-<role> in. Asks no broker; groups are named by WORKER_GROUP_PREFIX.

    Exit code 0.

    \b
    Examples:
      worker topics acls > acls.sh
      worker topics acls --json | jq .roles.trainer
    """
    from worker.kafka.topic_rights import kafka_acls, rights  # noqa: PLC0415 - with the stages: other commands should not wait

    settings = Settings.from_environment()
    roles = rights(settings.group_of)
    if json:
        print_json({"roles": {role: [right._asdict() for right in granted] for role, granted in roles.items()}})
        return
    for role, granted in roles.items():
        for right in granted:
            typer.echo(kafka_acls(settings.kafka_bootstrap_servers, f"finetune-{role}", right))
