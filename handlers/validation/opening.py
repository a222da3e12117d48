"""The first lines of a file: they are held back until they say which format it has."""

from typing import Any, Literal, NamedTuple

from contracts.dataset import Format
from handlers.validation import detect
from handlers.validation.lines import Line
from handlers.validation.problems import Problem

#: The format is decided by this many objects, or by what comes before so many bytes or lines.
_OBJECTS_TO_DECIDE = 10
_BYTES_TO_DECIDE = 1 << 20
_LINES_TO_DECIDE = 1000


class Decision(NamedTuple):
    """What a file is read as; ``wrong`` says why it cannot be: then its lines are counted, not judged."""

    format: Format | None
    wrong: Problem | None = None


class Opening:
    """Collects the lines of a file until enough is known."""

    def __init__(self, declared: Format | Literal["auto"]) -> None:
        self.held: list[Line] = []
        self._declared = declared
        self._held_bytes = 0
        self._seen: list[str | None] = []
        self._first_fields = ""

    def hold(self, line: Line, objects: tuple[dict[str, Any], ...]) -> bool:
        """Keep a line and look at its first object. Return whether the format can be decided."""
        self.held.append(line)
        self._held_bytes += line.size
        if objects:
            self._first_fields = self._first_fields or detect.fields_of(objects[0])
            self._seen.append(detect.looks_like(objects[0]))
        return (
            len(self._seen) >= _OBJECTS_TO_DECIDE
            or self._held_bytes >= _BYTES_TO_DECIDE
            or len(self.held) >= _LINES_TO_DECIDE
        )

    def decide(self) -> Decision:
        """Return what the lines so far say."""
        settled = detect.detected(self._seen) if self._declared == "auto" else self._declared
        if settled is None:
            return Decision(None, self._unknown())
        looks = detect.disagreement(settled, self._seen)
        if looks is None:
            return Decision(settled)
        message = f"the file is read as {settled}, but looks like {looks}"
        return Decision(settled, Problem((), "wrong-format", message, f"{settled} is {detect.SHAPES[settled]}"))

    def _unknown(self) -> Problem:
        message = f"no known format: the first object has the fields {self._first_fields}"
        hint = "; or ".join(f"{name}: {shape}" for name, shape in detect.SHAPES.items())
        return Problem((), "wrong-format", message, hint)
