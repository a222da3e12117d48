"""``worker validate``: find every fault of a dataset before it is imported, and correct what can be."""

from contextlib import nullcontext
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from contracts.dataset import DeclaredFormat
from worker.scan.process import MAX_FILE_BYTES
from worker.scan.scanner import MAX_FILES
from worker.settings import SettingsError
from worker.validate.checking import Checked, check
from worker.validate.excerpt import safe
from worker.validate.fix_files import fixed_files, refuse_overwriting, targets_of
from worker.validate.inputs import CouldNotCheck, Inputs, opened
from worker.validate.outputs import is_stdout, target_of
from worker.validate.progress import Bar
from worker.validate.result import as_json, not_checked
from worker.validate.show import show

# What brings a tokenizer is imported where it is used: a check without a model should not wait for it.
if TYPE_CHECKING:
    from worker.validate.tokens import CountedTokens


def validate(
    paths: Annotated[
        list[str],
        typer.Argument(
            metavar="PATH...", help="JSONL files, directories of them, URIs in the bucket, or -: one dataset."
        ),
    ],
    format: Annotated[DeclaredFormat, typer.Option(help="auto finds it out.")] = "auto",
    max_per_code: Annotated[int, typer.Option(min=0, help="Findings shown a code; totals are always exact.")] = 20,
    report: Annotated[
        str | None,
        typer.Option(metavar="PATH", help="Write every finding to this file, one JSON object a line; - is stdout."),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")] = False,
    fix: Annotated[
        str | None,
        typer.Option(
            metavar="PATH",
            help="Write a corrected copy here (several files: a directory; - is stdout) and check that instead.",
        ),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Let the corrected copy replace a file that is there.")
    ] = False,
    model: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="Count tokens for name[@version] of the catalogue, or a folder with tokenizer.json."
        ),
    ] = None,
) -> None:
    """Find every fault of a dataset in one pass.

    By the rules that imported datasets are judged by.

    --fix corrects what can be without guessing: several objects on a line, reasoning in several answers (each
    ends a sample of its own), blank lines, a byte-order mark, CR LF, function.arguments given as an object, labels in
    quotes, content null or missing beside tool_calls. Each change is said on stderr. A file that is there is replaced
    with --force only. Where the copy or the report goes
    to stdout, what people read goes to stderr.

    --model counts what would be trained on, exactly, with the model's own tokenizer and chat template. A sample that is
    longer than its context is left out of training: an error.

    Exit code 0: every sample is valid; 1: not; 2: it could not be checked.

    \b
    Examples:
      worker validate a.jsonl
      worker validate data/ --json | jq .totals
      worker validate a.jsonl --fix b.jsonl
    """
    try:
        report_to, fix_to = _target(report), _target(fix)
        taken = [target for target in (report_to, fix_to) if target and is_stdout(target)]
        if taken and json:
            raise CouldNotCheck("--json is printed on stdout, so nothing else can be: write the other to a file")
        with opened(paths) as given:
            copies = targets_of(given, fix_to) if fix_to else []
            refuse_overwriting(copies, report_to, given, force=force)
            with fixed_files(given, copies, _echo) if fix_to else nullcontext(given) as inputs:
                _say_limits(inputs, given.skipped)
                if model is None:
                    checked, tokens = _checked(inputs, format, max_per_code, report_to), None
                else:
                    checked, tokens = _counted(inputs, format, max_per_code, report_to, model)
                if json:
                    typer.echo(as_json(checked, tokens))
                else:
                    _show(checked, tokens, Console(stderr=bool(taken)), counting=model is not None)
    except (CouldNotCheck, SettingsError) as error:
        if json:
            typer.echo(not_checked(str(error)))
        typer.echo(f"worker validate: {error}", err=True)
        raise typer.Exit(2) from error
    raise typer.Exit(0 if checked.report.valid else 1)


def _checked(inputs: Inputs, format: DeclaredFormat, max_per_code: int, report: Path | None) -> Checked:
    with Bar(Console(stderr=True), sum(file.size_bytes for file in inputs.files)) as bar:
        return check(inputs, format, max_per_code=max_per_code, advance=bar.advance, report_path=report)


def _counted(
    inputs: Inputs, format: DeclaredFormat, max_per_code: int, report: Path | None, model: str
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


def _show(checked: Checked, tokens: "CountedTokens | None", console: Console, *, counting: bool) -> None:
    show(checked, console)
    if counting:
        from worker.validate.show_tokens import show_tokens  # noqa: PLC0415 - the reason is at the top

        show_tokens(tokens, console)


def _target(option: str | None) -> Path | None:
    return None if option is None else target_of(option)


def _echo(text: str) -> None:
    typer.echo(safe(text), err=True)


def _say_limits(inputs: Inputs, skipped: tuple[str, ...]) -> None:
    """Say what is not checked, and what an import would refuse though its lines are valid."""
    for each in skipped:
        _echo(each)
    if len(inputs.files) > MAX_FILES:
        typer.echo(f"{len(inputs.files)} files: an import takes at most {MAX_FILES}, join some of them", err=True)
    for file in inputs.files:
        if file.size_bytes > MAX_FILE_BYTES:
            typer.echo(f"{file.name}: an import takes files of at most 2 GiB, split it", err=True)
