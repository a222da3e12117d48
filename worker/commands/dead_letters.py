"""``worker dead-letters list | show | retry | drop | stopped | allow``."""

import asyncio
import getpass
from collections.abc import Awaitable, Callable, Collection
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import msgspec
import typer

from contracts.topics import TOPICS
from handlers.table import STAGES
from worker.commands.output import AsJson, print_json
from worker.commands.times import between
from worker.could_not import NotRight
from worker.delivery.redelivery import REASONS, UNKNOWN
from worker.settings import Settings
from worker.validate.excerpt import safe

# What brings the broker's client is imported where it is used: other commands should not wait for it.
if TYPE_CHECKING:
    from handlers.ports.store import ObjectStore
    from worker.delivery.bug_limit import BugsOfPartition
    from worker.letters import Filter, Letter

app = typer.Typer(
    no_args_is_help=True,
    help="See what could not be processed, put it back, or drop it.",
    context_settings={"help_option_names": ["-h", "--help"]},
)

Result = TypeVar("Result")
Ids = Annotated[list[str] | None, typer.Argument(help="Letters, by id, as list shows them.")]


def _one_of(what: str, known: Collection[str]) -> Any:
    """Return the callback of an option that takes a known name: of a misspelt one there would be no letters."""

    def check(name: str | None) -> str | None:
        if name is None or name in known:
            return name
        raise typer.BadParameter(f"no {what} {name}; there are {', '.join(known)}")

    return check


OfTopic = Annotated[
    str | None,
    typer.Option("--topic", callback=_one_of("topic", TOPICS), help="Of this topic, for example task.created."),
]
OfReason = Annotated[
    str | None,
    typer.Option("--reason", callback=_one_of("reason", REASONS), help="With this reason, for example bug."),
]
OfStage = Annotated[
    str | None,
    typer.Option(
        "--stage", callback=_one_of("stage", [*(stage.name for stage in STAGES), UNKNOWN]), help="Of this stage."
    ),
]

_SHOWN_TEXT = 100


@app.command("list")
def list_letters(
    topic: OfTopic = None,
    reason: OfReason = None,
    stage: OfStage = None,
    since: Annotated[str | None, typer.Option(help="Written at this time (RFC 3339) or later.")] = None,
    until: Annotated[str | None, typer.Option(help="Written before this time (RFC 3339).")] = None,
    everything: Annotated[bool, typer.Option("--all", help="Also those retried or dropped.")] = False,
    json: AsJson = False,
) -> None:
    """List dead letters, oldest first.

    And how many there are a reason. Reads the dead-letter topics, commits nothing.

    Exit code 0: listed, however many there are; 2: broker or bucket could not be reached.

    \b
    Examples:
      worker dead-letters list --reason bug
      worker dead-letters list --topic dataset.imported --since 2026-01-01
    """
    from worker.letters import Filter, totals  # noqa: PLC0415 - the reason is above

    first, end = between(since, until)
    wanted = Filter(topic=topic, reason=reason, stage=stage, since=first, until=end, open_only=not everything)
    letters = _with_store(lambda store: _find(store, wanted))
    if json:
        print_json({"letters": [_as_json(letter) for letter in letters], "totals": totals(letters)})
        return
    for letter in letters:
        state = "" if letter.state == "open" else f"  [{letter.state}]"
        typer.echo(
            f"{letter.id}  {letter.time:%Y-%m-%d %H:%M:%S}  {letter.topic}[{letter.partition}]@{letter.offset}  "
            f"{letter.stage}  {letter.reason}: {letter.text[:_SHOWN_TEXT]}{state}"
        )
    typer.echo(
        ", ".join(f"{reason} {count}" for reason, count in totals(letters).items()) or "no dead letters", err=True
    )


@app.command("show")
def show(letter_id: Annotated[str, typer.Argument(help="The letter's id.")], json: AsJson = False) -> None:
    """Show one letter whole.

    Where it failed and why, its headers and its body.

    Exit code 0: shown; 1: there is no such letter; 2: broker or bucket could not be reached.

    \b
    Example:
      worker dead-letters show 6f3a3f0e-52f0-5f3c-9d7e-0d1f4f3b7a51
    """
    (letter,) = _chosen([letter_id], None, None, None, open_only=False)
    if json:
        print_json(_as_json(letter))
        return
    for name, value in _as_json(letter).items():
        if value is not None:
            typer.echo(f"{name:>15}: {value}")


@app.command("retry")
def retry(
    ids: Ids = None,
    everything: Annotated[bool, typer.Option("--all", help="All open letters, or those the options name.")] = False,
    topic: OfTopic = None,
    reason: OfReason = None,
    stage: OfStage = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only list what would be put back.")] = False,
    json: AsJson = False,
) -> None:
    """Put letters back on their topics, unchanged.

    What was processed meanwhile is found recorded, and only said again. An event that breaks its contract is not mended
    by it, which is said on stderr: publish a corrected one, then drop the letter.

    Exit code 0: put back; 1: some could not be, and are named; 2: broker or bucket could not be reached.

    \b
    Examples:
      worker dead-letters retry --all --reason bug --dry-run
      worker dead-letters retry 6f3a3f0e-52f0-5f3c-9d7e-0d1f4f3b7a51
    """
    from worker.letters import hopeless  # noqa: PLC0415 - the reason is above

    letters = _some(ids, everything, topic, reason, stage)
    hopes = {letter.id: hopeless(letter) for letter in letters}
    notes = [note for note in hopes.values() if note]
    failed: list[str] = [] if dry_run else _with_store(lambda store: _put_back(store, letters), make=True)
    done = [letter.id for letter in letters]
    if json:
        retried = [] if dry_run else done
        print_json({"dry_run": dry_run, "retried": retried, "letters": done, "failed": failed, "notes": notes})
    for letter in letters:
        typer.echo(f"{letter.id}  {letter.topic}{_fate(dry_run=dry_run, refused=bool(hopes[letter.id]))}", err=json)
    for text in (*notes, *failed):
        typer.echo(safe(f"worker dead-letters retry: {text}"), err=True)
    raise typer.Exit(1 if failed else 0)


def _fate(*, dry_run: bool, refused: bool) -> str:
    """Return what is to be said of a letter that is put back; one that no retry mends becomes a letter once more."""
    said = ["would be put back"] * dry_run + ["refused again"] * refused
    return f"  {', and '.join(said)}" if said else ""


@app.command("drop")
def drop(
    ids: Ids = None,
    everything: Annotated[bool, typer.Option("--all", help="All open letters, or those the options name.")] = False,
    topic: OfTopic = None,
    reason: OfReason = None,
    stage: OfStage = None,
    json: AsJson = False,
) -> None:
    """Note that letters are done with.

    list shows them no more. They stay in their topics until those forget them.

    Exit code 0: noted; 1: there is no such letter; 2: broker or bucket could not be reached.

    \b
    Example:
      worker dead-letters drop --all --topic task.command --reason invalid-json
    """
    from worker.letters import note  # noqa: PLC0415 - the reason is above

    letters = _some(ids, everything, topic, reason, stage)

    async def drop_all(store: "ObjectStore") -> None:
        for letter in letters:
            await note(store, letter.id, "dropped", getpass.getuser())

    _with_store(drop_all, make=True)
    if json:
        print_json({"dropped": [letter.id for letter in letters]})
        return
    typer.echo(f"{len(letters)} dropped", err=True)


@app.command("stopped")
def stopped(json: AsJson = False) -> None:
    """List the partitions where a stage stopped.

    It did after too many bugs; the offsets that it gave up on are named. Changes nothing.

    Exit code 0: there are none; 1: there are some; 2: the bucket could not be reached.

    \b
    Example:
      worker dead-letters stopped --json
    """
    from worker.delivery import bug_limit  # noqa: PLC0415 - the reason is above

    async def find(store: "ObjectStore") -> "list[tuple[str, BugsOfPartition]]":
        return [
            (stage.name, each)
            for stage in STAGES
            for each in await bug_limit.bugs_of(store, stage.name)
            if each.stopped_at
        ]

    found = _with_store(find)
    if json:
        print_json({"stopped": [{"stage": stage} | msgspec.to_builtins(each) for stage, each in found]})
    else:
        for stage, each in found:
            offsets = ", ".join(sorted(each.bugs, key=int))
            place = f"{each.topic}[{each.partition}]"
            typer.echo(f"{stage}  {place}  since {each.stopped_at:%Y-%m-%d %H:%M:%S}  gave up on {offsets}")
        typer.echo(f"{len(found)} stopped" if found else "nothing is stopped", err=True)
    raise typer.Exit(1 if found else 0)


@app.command("allow")
def allow(
    stage: Annotated[str, typer.Argument(help="The stage that stopped because of too many bugs.")], json: AsJson = False
) -> None:
    """Let a stage go on that stopped after too many bugs.

    After the fix, or to dead-letter what cannot be saved.

    Exit code 0: it goes on; 1: it had not stopped; 2: the bucket could not be reached.

    \b
    Example:
      worker dead-letters allow training-dispatch
    """
    from worker.delivery import bug_limit  # noqa: PLC0415 - the reason is above

    if stage not in (names := [known.name for known in STAGES]):
        raise typer.BadParameter(f"no stage {stage}; there are {', '.join(names)}")
    stopped = _with_store(lambda store: bug_limit.allow(store, stage))
    places = [f"{each.topic}[{each.partition}]" for each in stopped]
    if json:
        print_json({"stage": stage, "allowed": places})
    else:
        typer.echo(f"{stage} goes on: {', '.join(places)}" if places else f"{stage} had not stopped", err=True)
    raise typer.Exit(0 if places else 1)


def _some(
    ids: list[str] | None, everything: bool, topic: str | None, reason: str | None, stage: str | None
) -> "list[Letter]":
    if bool(ids) == everything:
        raise typer.BadParameter("name letters by their ids, or say --all with or without --topic, --reason, --stage")
    return _chosen(ids, topic, reason, stage, open_only=everything)


def _chosen(
    ids: list[str] | None, topic: str | None, reason: str | None, stage: str | None, *, open_only: bool
) -> "list[Letter]":
    from worker.letters import Filter  # noqa: PLC0415 - the reason is above

    wanted = Filter(topic=topic, reason=reason, stage=stage, ids=frozenset(ids) if ids else None, open_only=open_only)
    letters = _with_store(lambda store: _find(store, wanted))
    if missing := set(ids or ()) - {letter.id for letter in letters}:
        raise NotRight(f"no letter {', '.join(sorted(missing))}; worker dead-letters list --all shows those there are")
    return letters


async def _find(store: "ObjectStore", wanted: "Filter") -> "list[Letter]":
    from worker.kafka.broker import Brokers  # noqa: PLC0415 - the reason is above
    from worker.letters import find  # noqa: PLC0415 - the reason is above

    return await find(Brokers.of(Settings.from_environment()), store, wanted)


async def _put_back(store: "ObjectStore", letters: "list[Letter]") -> list[str]:
    from worker.delivery.publishing import Publisher  # noqa: PLC0415 - the same
    from worker.kafka.broker import Brokers  # noqa: PLC0415 - the reason is above
    from worker.letters import NotRetryable, put_back  # noqa: PLC0415 - the same

    failed = []
    publisher = Publisher(Brokers.of(Settings.from_environment()))
    await publisher.start()
    try:
        for letter in letters:
            try:
                await put_back(letter, publisher, store, getpass.getuser())
            except NotRetryable as error:
                failed.append(str(error))
    finally:
        await publisher.stop()
    return failed


def _with_store(work: "Callable[[ObjectStore], Awaitable[Result]]", *, make: bool = False) -> Result:
    """Run work over the bucket, which is made where it is missing if anything is to be noted in it."""
    from worker.storage import open_store  # noqa: PLC0415 - the reason is above

    async def run() -> Result:
        async with open_store(Settings.from_environment(), make=make) as store:
            return await work(store)

    return asyncio.run(run())


def _as_json(letter: "Letter") -> dict[str, Any]:
    body: dict[str, Any] = msgspec.to_builtins(msgspec.structs.asdict(letter), builtin_types=(bytes,))
    text = {"key": letter.key, "body": letter.body}
    shown = {name: None if raw is None else raw.decode(errors="backslashreplace") for name, raw in text.items()}
    headers = {name: value.decode(errors="backslashreplace") if value else value for name, value in letter.headers}
    return body | shown | {"headers": headers, "state": letter.state}
