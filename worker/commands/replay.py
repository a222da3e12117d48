"""``worker replay``: a stretch of a topic once more, or only what it would say."""

import asyncio
import time
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

from worker.commands.output import AsJson, print_json
from worker.commands.times import between
from worker.settings import Settings

# What brings the broker's client is imported where it is used: other commands should not wait for it.
if TYPE_CHECKING:
    from worker.replay import Result

_TELL_SECONDS = 2.0


def replay(
    topic: Annotated[str, typer.Argument(help="The topic, for example dataset.imported.")],
    since: Annotated[str | None, typer.Option(help="From this time on (RFC 3339), as Kafka recorded it.")] = None,
    until: Annotated[str | None, typer.Option(help="Up to this time (RFC 3339), not included.")] = None,
    key: Annotated[str | None, typer.Option(help="Only events of this task or dataset.")] = None,
    stage: Annotated[str | None, typer.Option(help="Only through this stage.")] = None,
    rate: Annotated[float | None, typer.Option(min=0.01, help="At most so many events a second.")] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Publish and write nothing; show where today's rules decide otherwise.")
    ] = False,
    recompute: Annotated[
        bool, typer.Option("--recompute", help="Judge by today's rules where they have a newer version.")
    ] = False,
    json: AsJson = False,
) -> None:
    """Run what was on a topic through its stages again.

    Recorded results are said again, under the ids they had. Nothing is trained, exported or dead-lettered a second
    time; may be repeated at will. A consumer of its own reads, so the workers' positions stay where they are.

    Exit code 0: done; 1: some records failed, and are named; 2: broker or bucket could not be reached.

    \b
    Examples:
      worker replay dataset.imported --since 2026-01-01 --dry-run
      worker replay task.created --key task-7
    """
    from worker.replay import Wanted  # noqa: PLC0415 - the reason is above
    from worker.replay import replay as run  # noqa: PLC0415 - the same
    from worker.telemetry import configure_logging  # noqa: PLC0415 - the same

    settings = Settings.from_environment()
    configure_logging(settings.log_format, "warning")
    first, end = between(since, until)
    wanted = Wanted(
        topic=topic, since=first, until=end, key=key, stage=stage, rate=rate, dry_run=dry_run, recompute=recompute
    )
    told = time.monotonic()

    def tell(result: "Result") -> None:
        nonlocal told
        if time.monotonic() - told >= _TELL_SECONDS:
            told = time.monotonic()
            typer.echo(f"{result.records} records read", err=True)

    result = asyncio.run(run(settings, wanted, tell))
    _say(result, as_json=json)
    raise typer.Exit(1 if result.failed else 0)


def _say(result: "Result", *, as_json: bool) -> None:
    if as_json:
        body = msgspec.to_builtins(result)
        body["changed"] = [change._asdict() for change in result.changed]
        print_json(body)
        return
    done = "would be said" if result.dry_run else "said"
    typer.echo(f"{result.topic}: {result.records} records, {result.poison} of them poison, left alone")
    for name, found in result.stages.items():
        outcomes = ", ".join(f"{outcome} {count}" for outcome, count in sorted(found.outcomes.items())) or "nothing"
        said = ", ".join(f"{topic} {count}" for topic, count in sorted(found.said.items())) or "nothing"
        typer.echo(f"  {name}: {outcomes}; {done}: {said}")
    for change in result.changed:
        was = f"{change.recorded} -> {change.now}" if change.recorded != change.now else change.now
        typer.echo(f"  changed: {change.stage} {change.business_key}: {was}, differs in {', '.join(change.differs)}")
    for failed in result.failed:
        typer.echo(f"  failed: {failed}")
