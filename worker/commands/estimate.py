"""``worker estimate``: what a task would cost, before anything is imported."""

import sys
from pathlib import Path
from typing import Annotated, Any, NoReturn

import msgspec
import typer

from worker.settings import Settings, SettingsError


def estimate(
    form: Annotated[
        str, typer.Argument(metavar="FORM.json", help="The form, as far as it is filled in; - is standard input.")
    ],
    dataset: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ID=PATH",
            help="Where a dataset of the form is: JSONL files, a directory of them, or a URI in the bucket. "
            "May be given again, also for one dataset.",
        ),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")] = False,
) -> None:
    """Price a form over files at hand.

    It is the quote that an import of these files would get, under the same id.

    Lines are checked and tokens counted as in the service, with the model's own tokenizer and chat template, from the
    bucket of WORKER_STORAGE_URL where the model lies there. Nothing is imported, kept or published, so no task can cite
    the quote, and no price is frozen. --json prints {"quote", "faults", "problems", "notes"}.

    Exit code 0: the fee is known and nothing would be refused; 1: something is missing in the quote, or form or data
    would be refused; 2: it could not be estimated.

    \b
    Examples:
      worker estimate form.json --dataset poems=poems.jsonl
      worker estimate form.json --dataset poems=data/ --dataset prose=prose.jsonl --json | jq .quote.amount
    """
    # What brings a tokenizer is imported where it is used: other commands should not wait for it.
    from worker.catalog import load_catalog  # noqa: PLC0415 - the reason is above
    from worker.estimate.datasets import paths_of  # noqa: PLC0415 - the same
    from worker.estimate.estimating import NothingToPrice, estimated  # noqa: PLC0415 - the same
    from worker.estimate.show import show, show_wrong  # noqa: PLC0415 - the same
    from worker.validate.inputs import CouldNotCheck  # noqa: PLC0415 - the same

    try:
        settings = Settings.from_environment()
        catalog = load_catalog(settings.models_file, settings.prices_file)
        body = sys.stdin.buffer.read() if form == "-" else Path(form).read_bytes()
        found = estimated(body, paths_of(dataset or []), catalog)
    except OSError as error:
        _fail(f"{error.filename or form}: {error.strerror}", error, as_json=json)
    except NothingToPrice as error:
        show_wrong(error.faults, error.notes)
        _fail(str(error), error, as_json=json, faults=error.faults, notes=error.notes)
    except (CouldNotCheck, SettingsError) as error:
        _fail(str(error), error, as_json=json)
    else:
        if json:
            sys.stdout.write(msgspec.json.encode(found).decode() + "\n")
        else:
            show(found)
        raise typer.Exit(0 if found.right else 1)


def _fail(text: str, error: Exception, *, as_json: bool, **more: Any) -> NoReturn:
    if as_json:
        sys.stdout.write(msgspec.json.encode({"quote": None, "error": text, **more}).decode() + "\n")
    typer.echo(f"worker estimate: {text}", err=True)
    raise typer.Exit(2) from error
