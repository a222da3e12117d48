"""``worker models list | show | verify | download``; names of models are in model_refs.py."""

import asyncio
from collections.abc import Callable, Coroutine, Iterable
from pathlib import Path
from typing import Annotated, Any, TypeVar

import msgspec
import typer

from handlers.validation.problems import counted
from worker.commands import model_refs
from worker.commands.output import AsJson, print_json
from worker.settings import Settings
from worker.validate.excerpt import safe

app = typer.Typer(
    no_args_is_help=True,
    help="See, verify, download and name the models of the repository.",
    context_settings={"help_option_names": ["-h", "--help"]},
)

Result = TypeVar("Result")
Which = Annotated[
    str,
    typer.Argument(
        metavar="MODEL",
        help="A model's id or ref in the bucket of WORKER_STORAGE_URL, a folder, or a file:// or s3:// URI.",
    ),
]


@app.command("list")
def list_models(
    where: Annotated[
        str | None,
        typer.Argument(metavar="WHERE", help="A folder or URI with models in it; the bucket's repository without."),
    ] = None,
    project: Annotated[str | None, typer.Option(metavar="ID", help="Of this project alone.")] = None,
    json: AsJson = False,
) -> None:
    """List the models of a repository, by name.

    A model without a manifest is not exported completely. Of the bucket's repository also the refs that name each.

    Exit code 0: listed, however many there are; 2: the repository could not be read.

    \b
    Examples:
      worker models list
      worker models list --project poems --json
      worker models list s3://bucket/models
    """
    from worker.models.refs import all_refs  # noqa: PLC0415 - the same
    from worker.models.repository import Entry, entries  # noqa: PLC0415 - what brings much is imported where it is used
    from worker.models.show import entry_lines  # noqa: PLC0415 - the same
    from worker.models.source import opened  # noqa: PLC0415 - the same

    async def read(settings: Settings) -> list[Entry]:
        async with opened(where, settings) as source:
            return await entries(source, project, None if where else await all_refs(settings))

    found = _run(read)
    if json:
        print_json({"models": found})
    else:
        _say(entry_lines(found))
        typer.echo(f"{counted(len(found), 'model')}, {sum(each.size_bytes for each in found) / 1e6:,.1f} MB", err=True)


@app.command("show")
def show(model: Which, json: AsJson = False) -> None:
    """Show what a model was made of.

    Also why it was kept, and its files with their SHA-256; --json is the whole manifest.

    Exit code 0: shown; 1: there is no such model, or it has no usable manifest; 2: it could not be read.

    \b
    Examples:
      worker models show task-7-step30-1f2e3d4c
      worker models show ./model --json | jq .lineage.base
    """
    from handlers.manifests import MANIFEST  # noqa: PLC0415 - the reason is above
    from worker.models.named import named  # noqa: PLC0415 - the same
    from worker.models.show import manifest_lines  # noqa: PLC0415 - the same
    from worker.models.verify import ManifestReading, read_manifest  # noqa: PLC0415 - the same

    async def read(settings: Settings) -> ManifestReading:
        async with named(model, settings) as (source, _, model_id):
            return read_manifest(await source.read(MANIFEST), model_id)

    manifest, problems = _run(read)
    if manifest is None:
        if json:
            print_json({"model_id": None, "problems": problems})
        for problem in problems:
            typer.echo(safe(f"worker models show: {model}: {problem.path}: {problem.message}"), err=True)
        raise typer.Exit(1)
    if json:
        print_json(manifest)
    else:
        _say(manifest_lines(manifest))


@app.command("verify")
def verify(
    model: Which,
    base: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="What an adapter is on; without, it is looked for in the bucket."),
    ] = None,
    json: AsJson = False,
) -> None:
    """Check a model against its manifest, and load it.

    It has to repeat its probe then. Every file's size and SHA-256, files that the manifest does not name, the headers
    of all weights, and that nothing is a pickle, whatever it is called. Only what is intact is loaded: offline, in a
    process of its own, with the extra trainer. A model in S3 is downloaded to a temporary folder for it.

    Exit code 0: verified; 1: tampered with or broken, each file is named, or there is no such model; 2: not all of
    it could be checked.

    \b
    Examples:
      worker models verify task-7-step30-1f2e3d4c
      worker models verify ./model --base ./base --json
      worker models verify s3://bucket/models/task-7-step30-1f2e3d4c
    """
    from worker.models.progress import Progress  # noqa: PLC0415 - the reason is above
    from worker.models.show import verdict_lines  # noqa: PLC0415 - the same
    from worker.models.verification import verify as check  # noqa: PLC0415 - the same

    verdict = _run(lambda settings: check(model, settings, base=base, progress=Progress()))
    if json:
        print_json(msgspec.structs.asdict(verdict) | {"verified": verdict.exit_code == 0})
    else:
        _say(verdict_lines(verdict))
    raise typer.Exit(verdict.exit_code)


@app.command("download")
def download(
    model: Which,
    to: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="The folder it becomes; its id here without.")
    ] = None,
    json: AsJson = False,
) -> None:
    """Bring a model into a new folder, every file checked.

    When all are there, the folder gets its name. May be repeated: files that came whole are not fetched again, and a
    folder that is this model is left alone.

    Exit code 0: it is there; 1: there is no such model, or what is in the repository is not what its manifest says;
    2: it could not be brought.

    \b
    Example:
      worker models download refs/poems/production --to ./model
    """
    from worker.models.download import Broken  # noqa: PLC0415 - the reason is above
    from worker.models.download import download as bring  # noqa: PLC0415 - the same
    from worker.models.progress import Progress  # noqa: PLC0415 - the same

    try:
        done = _run(lambda settings: bring(model, settings, to=to, progress=Progress()))
    except Broken as error:
        if json:
            print_json({"path": None, "problems": error.problems})
        for problem in error.problems:
            typer.echo(safe(f"{problem.path}: {problem.code}: {problem.message}"), err=True)
        raise typer.Exit(1) from None
    if json:
        print_json(done)
    else:
        typer.echo(done.path)
        fetched = f"{done.fetched_bytes / 1e6:,.1f} of {done.size_bytes / 1e6:,.1f} MB fetched"
        typer.echo(f"{done.model_id}: {done.files} files, {fetched}, all as the manifest says", err=True)


app.command("tag")(model_refs.tag)
app.command("untag")(model_refs.untag)


def _run(work: Callable[[Settings], Coroutine[Any, Any, Result]]) -> Result:
    """Run work over the settings."""
    return asyncio.run(work(Settings.from_environment()))


def _say(lines: Iterable[str]) -> None:
    for line in lines:
        typer.echo(line)
