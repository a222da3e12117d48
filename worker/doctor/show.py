"""Findings for people: a line each, and a second one with the remedy."""

from collections.abc import Iterable

import typer

from worker.doctor.finding import Finding

_WIDTH = len("unchecked")


def show(findings: Iterable[Finding]) -> None:
    """Print findings on stdout."""
    for each in findings:
        typer.echo(f"{each.mark:<{_WIDTH}}  {each.about}: {each.text}")
        if each.remedy:
            typer.echo(f"{'':<{_WIDTH}}  -> {each.remedy}")
