"""What people read: findings with their place, and a summary."""

from collections.abc import Iterator

from rich.console import Console
from rich.text import Text

from contracts.datasets.findings import CODES, Finding, Severity
from worker.validate.checking import Checked, named
from worker.validate.excerpt import Excerpt, excerpt, has_place, lines_of, safe

_COLOURS: dict[Severity, str] = {"error": "red", "warning": "yellow", "note": "cyan"}
_INDENT = "    "
_NARROWEST, _WIDEST = 40, 120


def show(checked: Checked, console: Console) -> None:
    """Print the findings, each with its place in its line, and the summary. Reads the files again for the places.

    What is about the whole dataset comes after what is about one of its files.
    """
    whole = [finding for finding in checked.report.findings if _of_dataset(finding)]
    for finding, place in _with_places(checked, console.width):
        _print(console, _headline(checked, finding))
        if place:
            _print(console, Text(_INDENT + place.text, style="dim"))
            _print(console, Text(_INDENT + " " * place.caret + "^", style=_COLOURS[finding.severity]))
    for finding in whole:
        _print(console, _headline(checked, finding))
    _print_rest(checked, console)
    _print_summary(checked, console)


def _with_places(checked: Checked, width: int) -> Iterator[tuple[Finding, Excerpt | None]]:
    columns = max(_NARROWEST, min(width, _WIDEST)) - len(_INDENT)
    for index, file in enumerate(checked.inputs.files):
        findings = [found for found in checked.report.findings if found.file == index and not _of_dataset(found)]
        placed = [finding for finding in findings if has_place(finding.code)]
        excerpts: dict[int, Excerpt] = {}
        # A pipe is read out by now.
        if file.path.is_file():
            by_line: dict[int, list[Finding]] = {}
            for finding in placed:
                by_line.setdefault(finding.line, []).append(finding)
            for number, body in lines_of(file.path, by_line):
                for each in by_line[number]:
                    excerpts[id(each)] = excerpt(body, each.code, each.pointer, each.message, columns)
        for finding in findings:
            yield finding, excerpts.get(id(finding))


def _headline(checked: Checked, finding: Finding) -> Text:
    colour = _COLOURS[finding.severity]
    name = safe(checked.inputs.files[finding.file].name)
    line = Text("the dataset:" if _of_dataset(finding) else f"{name}:{finding.line}", style="bold")
    if finding.pointer:
        line.append(f" {safe(finding.pointer)}", style="not bold")
    line.append(f" {finding.severity} {finding.code}", style=f"{colour} not bold")
    line.append(f" {safe(named(checked.inputs, finding))}", style="not bold")
    if finding.hint:
        line.append(f"; {safe(finding.hint)}", style="dim not bold")
    return line


def _of_dataset(finding: Finding) -> bool:
    return CODES[finding.code].scope == "dataset"


def _print_rest(checked: Checked, console: Console) -> None:
    shown: dict[str, int] = {}
    for finding in checked.report.findings:
        shown[finding.code] = shown.get(finding.code, 0) + 1
    for code, total in checked.report.totals.items():
        if hidden := total - shown.get(code, 0):
            _print(console, Text(f"... and {hidden} more {code}", style="dim"))


def _print_summary(checked: Checked, console: Console) -> None:
    report = checked.report
    size = sum(file.size_bytes for file in report.files)
    # How long the first megabyte takes says more about the start than about the speed.
    rate = f" at {_bytes(size / max(checked.seconds, 1e-6))}/s" if size >= 1e6 else ""
    verdict = "valid" if report.valid else "invalid"
    line = Text(verdict, style="bold green" if report.valid else "bold red")
    files = len(report.files)
    line.append(
        f": {report.valid_samples} of {report.samples} samples valid, format {report.format or 'unknown'}, "
        f"{files} file{'s' * (files != 1)}, {_bytes(size)}{rate}",
        style="not bold default",
    )
    _print(console, line)
    for severity, colour in _COLOURS.items():
        counts = [f"{code} x{count}" for code, count in report.totals.items() if CODES[code].severity == severity]
        if counts:
            _print(console, Text(f"  {severity}s: {', '.join(counts)}", style=colour))


def _bytes(size: float) -> str:
    """Return a size with three digits, never with an exponent."""
    if size < 1000:
        return f"{size:.0f} bytes"
    for unit in ("kB", "MB", "GB"):
        size /= 1000
        if size < 999.5 or unit == "GB":
            break
    return f"{size:.3g} {unit}" if size < 999.5 else f"{size:.0f} {unit}"


def _print(console: Console, text: Text) -> None:
    # Never wrapped: a finding is one line, for grep as for people.
    console.print(text, soft_wrap=True, highlight=False)
