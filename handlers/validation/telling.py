"""What a scan says of a file: each finding reported once, and counted by its code."""

from collections import Counter
from collections.abc import Callable

from contracts.datasets.findings import CODES, Finding
from contracts.strict_json import Path, pointer
from handlers.validation.problems import Problem

#: Characters of a pointer.
MAX_POINTER_LENGTH = 1000


class Telling:
    """Reports the findings of one file. ``totals`` counts them a code, exactly."""

    def __init__(self, report: Callable[[Finding], None], file: int) -> None:
        self._report, self._file = report, file
        self.totals: Counter[str] = Counter()

    def problem(self, line: int, problem: Problem) -> bool:
        """Report a problem of a line and return whether it is an error."""
        severity = CODES[problem.code].severity
        self.totals[problem.code] += 1
        self._report(
            Finding(
                line=line,
                pointer=_pointer(problem.path),
                code=problem.code,
                severity=severity,
                message=problem.message,
                hint=problem.hint,
                file=self._file,
            )
        )
        return severity == "error"

    def note_once(self, code: str, message: str, why: str) -> None:
        """Say of the whole file, at its first line, what nobody needs to do anything about; ``why`` not."""
        if not self.totals[code]:
            self.problem(1, Problem((), code, message, f"nothing to do: {why}"))


def _pointer(path: Path) -> str:
    """Return a path as a pointer; where that is very long, the pointer of what it is in. Names can be megabytes."""
    steps = [pointer((step,)) for step in path]
    while sum(map(len, steps)) > MAX_POINTER_LENGTH:
        steps.pop()
    return "".join(steps)
