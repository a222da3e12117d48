"""``worker doctor``: what is wrong with what the service stands on, and what to do about it."""

import asyncio
from collections import Counter
from typing import TYPE_CHECKING

import typer

from worker.commands.output import AsJson, print_json
from worker.settings import Settings, SettingsError

# What brings the broker's client is imported where it is used: other commands should not wait for it.
if TYPE_CHECKING:
    from worker.doctor.finding import Finding


def doctor(json: AsJson = False) -> None:
    """Look at all the service stands on; say the remedies.

    Settings, broker and how it is secured, topics, whether workers run each stage and what waits for them, bucket and
    whether its conditional puts are conditional, executors, catalogue and base models, clocks, folders and disk: a line
    each, which begins with ok, note (usable, and perhaps not what was meant), wrong or unchecked. Changes nothing; what
    it writes to try the bucket it removes. Takes some seconds, a minute where something does not answer.

    Exit code 0: nothing is wrong; 1: something is, each with its remedy; 2: nothing is, and not all could be checked.

    \b
    Examples:
      worker doctor
      worker doctor --json | jq '.findings[] | select(.mark == "wrong")'
    """
    from worker.doctor.examine import exit_code  # noqa: PLC0415 - the reason is above
    from worker.doctor.show import show  # noqa: PLC0415 - the same
    from worker.telemetry import configure_logging  # noqa: PLC0415 - the same

    configure_logging("console", "critical")  # what clients log on the way is said by the findings
    findings = _found()
    code = exit_code(findings)
    if json:
        print_json({"right": code == 0, "findings": findings})
    else:
        show(findings)
        marks = Counter(finding.mark for finding in findings)
        typer.echo(", ".join(f"{count} {mark}" for mark, count in marks.items()), err=True)
    raise typer.Exit(code)


def _found() -> "list[Finding]":
    from worker.doctor.examine import examine  # noqa: PLC0415 - the reason is above
    from worker.doctor.finding import unchecked, wrong  # noqa: PLC0415 - the same

    try:
        settings = Settings.from_environment()
    except SettingsError as error:
        rest = unchecked("all else", "what it is set to cannot be told")
        return [wrong("settings", str(error), "set or unset the variables that it names"), rest]
    return asyncio.run(examine(settings))
