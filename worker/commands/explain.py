"""``worker explain``: the story of a task."""

import asyncio
from typing import TYPE_CHECKING, Annotated

import typer

from worker.commands.output import AsJson, print_json
from worker.settings import Settings

if TYPE_CHECKING:
    from worker.story import Story
    from worker.tasks.basis import DatasetNow


def explain(
    task_id: Annotated[str, typer.Argument(help="The task, as its form names it.")],
    json: AsJson = False,
) -> None:
    """Tell what became of a task, and why.

    How it stands, what it waits for, why its fee is not known; then every decision in order, what caused it, and what
    was said of it. Reads the bucket alone.

    Exit code 0: it is told; 1: nothing is known of the task; 2: the bucket could not be reached.

    \b
    Examples:
      worker explain task-7
      worker explain task-7 --json | jq .chapters[].outcome
      worker explain task-7 --json | jq .quote.missing
    """
    from worker.storage import open_store  # noqa: PLC0415 - what brings much is imported where it is used
    from worker.story import story_of  # noqa: PLC0415 - the same

    async def read() -> "Story":
        async with open_store(Settings.from_environment(), make=False) as store:
            return await story_of(store, task_id)

    story = asyncio.run(read())
    if json:
        print_json(story)
        return
    _tell(story)


def _tell(story: "Story") -> None:
    executor = f"for {story.executor}, not handed over yet" if story.waits_for_quota else f"on {story.executor}"
    where = f", attempt {story.attempt} {executor}" if story.attempt else ""
    typer.echo(f"task {story.task_id}: {story.phase or 'not created yet'}{where}")
    if story.reason:
        whose = f", the {story.party}'s matter" if story.party in ("user", "platform") else ""
        typer.echo(f"  {story.reason}{whose}; {story.retry_count} of {story.retry_limit} retries used")
    if story.message:
        typer.echo(f"  {story.message}")
    if story.resumable:
        typer.echo("  it can be resumed")
    _tell_basis(story)
    for end in story.ends:
        at = f" at step {end.step}" if end.step is not None else ""
        typer.echo(f"  attempt {end.attempt} on {end.executor} ended{at}: {end.reason} ({end.party}): {end.message}")
    for chapter in story.chapters:
        typer.echo(f"{chapter.at:%Y-%m-%d %H:%M:%S}  {chapter.stage:<18}  {chapter.outcome}  ({chapter.about})")
        typer.echo(f"  caused by {chapter.caused_by}")
        for topic, event_id in chapter.said:
            typer.echo(f"  said {topic}  {event_id}")


def _tell_basis(story: "Story") -> None:
    """Tell what the task stands on, until it is decided: then its message and its settlement say what came of it."""
    if story.phase not in (None, "Preprocessing"):
        return
    for dataset in story.verdicts:
        typer.echo(f"  dataset {dataset.dataset_id}: {_verdict(dataset)}")
    if story.quote and story.quote.amount is not None:
        typer.echo(f"  the fee: {story.quote.amount} {story.quote.currency}")
    elif story.quote:
        typer.echo("  the fee is not known; what is missing:")
        for each in story.quote.missing:
            typer.echo(f"    {each}")


def _verdict(dataset: "DatasetNow") -> str:
    if dataset.verdict is None:
        return "no report yet: it was not imported, or is still being checked"
    if dataset.verdict == "validated":
        return f"validated, {dataset.samples} samples"
    tolerated = "" if dataset.objection else ", which the form tolerates"
    return (
        f"rejected, {dataset.valid_samples} of {dataset.samples} samples are valid{tolerated}; report {dataset.report}"
    )
