"""The first lines of a file: they are held back until they say which format it has."""

from typing import Any, NamedTuple

from contracts.dataset import DeclaredFormat, Format
from handlers.validation import detect
from handlers.validation.lines import Line
from handlers.validation.one_value import LINES_TO_TELL, may_begin, one_value
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

    def __init__(self, declared: DeclaredFormat) -> None:
        self.held: list[Line] = []
        self._declared = declared
        self._begun = False
        self._are_objects: list[bool] = []
        self._one_value: Problem | None = None
        self._held_bytes = 0
        self._seen: list[str | None] = []
        self._first_fields = ""

    @property
    def declared(self) -> Format | None:
        """Return what the file was said to be."""
        return None if self._declared == "auto" else self._declared

    def may_begin_value(self, line: Line) -> bool:
        """Return whether a line without an object may begin one over several lines: the first of a file may."""
        if self._begun or (line.body is not None and not line.body.strip()):
            return False
        self._begun = True
        return line.body is not None and may_begin(line.body)

    def hold(self, line: Line, objects: tuple[dict[str, Any], ...]) -> bool:
        """Keep a line and look at its first object. Return whether there is enough to decide."""
        self._begun = True
        self.held.append(line)
        self._are_objects.append(bool(objects))
        self._held_bytes += line.size
        if objects:
            self._first_fields = self._first_fields or detect.fields_of(objects[0])
            self._seen.append(detect.looks_like(objects[0]))
        if len(self.held) == LINES_TO_TELL:
            self._look_for_one_value()
        return (
            self._one_value is not None
            or len(self._seen) >= _OBJECTS_TO_DECIDE
            or self._held_bytes >= _BYTES_TO_DECIDE
            or len(self.held) >= _LINES_TO_DECIDE
        )

    def decide(self) -> Decision | None:
        """Return what the lines so far say; None: nothing, since there is no object among them."""
        if len(self.held) < LINES_TO_TELL:
            self._look_for_one_value()
        if self._one_value:
            return Decision(self.declared, self._one_value)
        if not self._seen:
            return None
        settled = detect.detected(self._seen) if self._declared == "auto" else self._declared
        if settled is None:
            return Decision(None, self._unknown())
        looks = detect.disagreement(settled, self._seen)
        if looks is None:
            return Decision(settled)
        message = f"the file is read as {settled}, but looks like {looks}"
        return Decision(settled, Problem((), "wrong-format", message, detect.remedy(settled, looks)))

    def release(self) -> list[Line]:
        """Return the lines that were held back, and hold none any more."""
        held, self.held, self._are_objects, self._held_bytes = self.held, [], [], 0
        return held

    def _look_for_one_value(self) -> None:
        """Look where the file begins with a line that was no object by itself."""
        bodies = [line.body for line in self.held if line.body is not None]
        if len(bodies) == len(self.held) and not self._are_objects[0]:
            self._one_value = one_value(bodies, self._are_objects)

    def _unknown(self) -> Problem:
        if foreign := detect.foreigner(self._seen):
            message = f"the file is in {foreign}, which is not read"
            return Problem((), "wrong-format", message, detect.remedy(None, foreign))
        message = f"no known format: the first object has the fields {self._first_fields}"
        hint = "; or ".join(f"{name}: {shape}" for name, shape in detect.SHAPES.items())
        return Problem((), "wrong-format", message, hint)
