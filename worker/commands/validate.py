"""``worker validate``: find every fault of a dataset before it is imported, and correct what can be."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.console import Console

from contracts.dataset import Format
from worker.scan_process import MAX_FILE_BYTES
from worker.scanner import MAX_FILES
from worker.validate.checking import Checked, check
from worker.validate.excerpt import safe
from worker.validate.fix_files import fix_files, refuse_inputs
from worker.validate.inputs import CouldNotCheck, Inputs, opened
from worker.validate.progress import Bar
from worker.validate.result import as_json
from worker.validate.show import show

# What brings a tokenizer is imported where it is used: a check without a model should not wait for it.
if TYPE_CHECKING:
    from worker.validate.tokens import CountedTokens


def validate(
    paths: Annotated[
        list[str],
        typer.Argument(metavar="PATH...", help="JSONL files, directories of them, or URIs in the bucket: one dataset."),
    ],
    format: Annotated[
        Literal["auto", "sft", "preference", "ranking", "pretrain"], typer.Option(help="auto finds it out.")
    ] = "auto",
    max_per_code: Annotated[int, typer.Option(min=0, help="Findings shown a code; totals are always exact.")] = 20,
    report: Annotated[
        Path | None, typer.Option(help="Write every finding to this file, one JSON object a line.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")] = False,
    fix: Annotated[
        Path | None,
        typer.Option(help="Write a corrected copy here (several files: a directory) and check that instead."),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="Count tokens for name[@version] of the catalogue, or a folder with tokenizer.json."
        ),
    ] = None,
) -> None:
    """Find every fault of a dataset in one pass, with the rules that imported datasets are judged by.

    --fix corrects what can be without guessing: several objects on a line, blank lines, a byte-order mark, CR LF,
    function.arguments given as an object, labels in quotes. Each change is said on stderr.

    --model counts what would be trained on, exactly, with the model's own tokenizer and chat template. A sample that is
    longer than its context is left out of training: an error.

    Exit code 0: every sample is valid; 1: not; 2: it could not be checked.

    Examples: worker validate a.jsonl; worker validate data/ --json | jq .totals; worker validate a.jsonl --fix b.jsonl
    """
    try:
        with opened(paths) as given:
            refuse_inputs([report] if report else [], given)
            inputs = fix_files(given, fix, lambda change: typer.echo(safe(change), err=True)) if fix else given
            _say_limits(inputs)
            if model is None:
                checked, tokens = _checked(inputs, format, max_per_code, report), None
            else:
                checked, tokens = _counted(inputs, format, max_per_code, report, model)
            _say(checked, tokens, counting=model is not None, json=json)
    except CouldNotCheck as error:
        typer.echo(f"worker validate: {error}", err=True)
        raise typer.Exit(2) from None
    raise typer.Exit(0 if checked.report.valid else 1)


def _checked(inputs: Inputs, format: Format | Literal["auto"], max_per_code: int, report: Path | None) -> Checked:
    with Bar(Console(stderr=True), sum(file.size_bytes for file in inputs.files)) as bar:
        return check(inputs, format, max_per_code=max_per_code, advance=bar.advance, report_path=report)


def _counted(
    inputs: Inputs, format: Format | Literal["auto"], max_per_code: int, report: Path | None, model: str
) -> "tuple[Checked, CountedTokens | None]":
    from worker.validate.model import find_model  # noqa: PLC0415 - the reason is at the top
    from worker.validate.tokens import Counting, encoder_of, refuse_pipes  # noqa: PLC0415 - the same

    refuse_pipes(inputs)
    # Before anything is read: a misspelt name should not cost the time of a check.
    found = find_model(model)
    encoder = encoder_of(found)
    with TemporaryDirectory(prefix="validate-") as scratch:
        findings = Path(scratch, "findings.ndjson")
        checked = _checked(inputs, format, max_per_code, findings)
        size = sum(file.size_bytes for file in checked.inputs.files)
        with Bar(Console(stderr=True), size, "counting tokens of") as bar:
            counting = Counting(checked, findings, found, bar.advance)
            return counting.run(encoder, max_per_code=max_per_code, report_path=report)


def _say(checked: Checked, tokens: "CountedTokens | None", *, counting: bool, json: bool) -> None:
    if json:
        typer.echo(as_json(checked, tokens))
        return
    console = Console()
    show(checked, console)
    if counting:
        from worker.validate.show_tokens import show_tokens  # noqa: PLC0415 - the reason is at the top

        show_tokens(tokens, console)


def _say_limits(inputs: Inputs) -> None:
    """Say what an import would refuse though its lines are valid; they are checked all the same."""
    if len(inputs.files) > MAX_FILES:
        typer.echo(f"{len(inputs.files)} files: an import takes at most {MAX_FILES}, join some of them", err=True)
    for file in inputs.files:
        if file.size_bytes > MAX_FILE_BYTES:
            typer.echo(f"{file.name}: an import takes files of at most 2 GiB, split it", err=True)
