"""``worker explain``: the story of a task, or of a dataset."""

import asyncio
from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated

import typer

from worker.commands.ids import an_id
from worker.commands.output import AsJson, print_json
from worker.settings import Settings

if TYPE_CHECKING:
    from worker.dataset_story import DatasetStory
    from worker.story import Chapter, Story
    from worker.tasks.basis import DatasetNow

#: So many of a dataset's errors are told; all of them are in its report.
_MOST_FINDINGS = 10


def explain(
    subject: Annotated[
        str,
        typer.Argument(
            metavar="TASK|DATASET", callback=an_id, help="A task, as its form names it; or an imported dataset."
        ),
    ],
    json: AsJson = False,
) -> None:
    """Tell what became of a task or a dataset, and why.

    How a task stands, what it waits for, why its fee is not known; how a dataset was judged, why it was rejected, and
    where its report is. Then every decision in order, what caused it, and what was said of it. Where a task and a
    dataset have one id, the task is told of. Reads the bucket alone.

    Exit code 0: it is told; 1: nothing is known of it; 2: the bucket could not be reached.

    \b
    Examples:
      worker explain task-7
      worker explain poems
      worker explain task-7 --json | jq .chapters[].outcome
      worker explain task-7 --json | jq .quote.missing
    """
    from worker.dataset_story import dataset_story_of  # noqa: PLC0415 - what brings much is imported where it is used
    from worker.storage import open_store  # noqa: PLC0415 - the same
    from worker.story import Story, is_task, story_of  # noqa: PLC0415 - the same

    async def read() -> "Story | DatasetStory":
        async with open_store(Settings.from_environment(), make=False) as store:
            # The fee of an import without a task is a decision about its dataset, which has no task of that id.
            is_dataset = not await is_task(store, subject)
            found = await dataset_story_of(store, subject) if is_dataset else None
            return found or await story_of(store, subject)

    story = asyncio.run(read())
    if json:
        print_json(story)
    elif isinstance(story, Story):
        _tell(story)
    else:
        _tell_dataset(story)


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
    _tell_chapters(story.chapters)


def _tell_chapters(chapters: "Iterable[Chapter]") -> None:
    for chapter in chapters:
        typer.echo(f"{chapter.at:%Y-%m-%d %H:%M:%S}  {chapter.stage:<18}  {chapter.outcome}  ({chapter.about})")
        typer.echo(f"  caused by {chapter.caused_by}")
        for topic, event_id in chapter.said:
            typer.echo(f"  said {topic}  {event_id}")


def _tell_basis(story: "Story") -> None:
    """Tell what the task stands on, until it is decided: then its message and its settlement say what came of it.

    Of a task that failed, the datasets that it may not train on are told still.
    """
    undecided = story.phase in (None, "Preprocessing")
    for dataset in story.verdicts:
        if undecided or (story.phase == "Failed" and dataset.objection):
            typer.echo(f"  dataset {dataset.dataset_id}: {_verdict(dataset)}")
    if not undecided:
        return
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
    more = f"; worker explain {dataset.dataset_id} tells why" if dataset.objection else ", which the form tolerates"
    return f"rejected, {dataset.valid_samples} of {dataset.samples} samples are valid{more}"


def _tell_dataset(story: "DatasetStory") -> None:
    from worker.validate.excerpt import safe  # noqa: PLC0415 - the same

    counted = f"{story.valid_samples} of {story.samples} samples are valid" if story.report_uri else "not read"
    typer.echo(f"dataset {story.dataset_id}: {story.verdict}, {counted}")
    if story.objection:
        typer.echo(safe(f"  {story.objection}"))
    errors = [finding for finding in story.findings if finding.severity == "error"]
    for finding in errors[:_MOST_FINDINGS]:
        place = f"{story.files[finding.file].rpartition('/')[2]}:{finding.line} {finding.pointer}".rstrip()
        hint = f"; {finding.hint}" if finding.hint else ""
        typer.echo(safe(f"  {place} {finding.code} {finding.message}{hint}"))
    if story.findings_uri and story.totals:
        typer.echo(safe(f"  every finding: {story.findings_uri}"))
    if story.report_uri:
        typer.echo(safe(f"  its report: {story.report_uri}"))
    _tell_chapters(story.chapters)
