"""Mutants that no test can notice, each with the reason."""

from typing import NamedTuple


class Equivalent(NamedTuple):
    """A mutant by what :attr:`Mutation.key` says of it, and why it makes no difference."""

    file: str
    scope: str
    was: str
    becomes: str
    why: str


_JSON = "contracts/strict_json.py"
_LINES = "handlers/validation/lines.py"
_MESSAGES = "handlers/validation/rules_messages.py"
_TURNS = "handlers/validation/rules_turns.py"

_SUSPICIOUS = "self._suspicious = False"
_COUNTED = "if text.count('[', begin, end) + text.count('{', begin, end)"
_MISSING = "index + answers + 1 < len(roles) and (roles[index + answers + 1] is None)):"

_WRITTEN_FIRST = "it is written before it is ever read"
_ONLY_TIME = "the value is searched for oddities once more, and there are none"

EQUIVALENT = (
    Equivalent(_JSON, "StrictParser.__init__", _SUSPICIOUS, "", _WRITTEN_FIRST),
    Equivalent(_JSON, "StrictParser.__init__", _SUSPICIOUS, "self._suspicious = True", _WRITTEN_FIRST),
    Equivalent(_JSON, "StrictParser.parse_first", _SUSPICIOUS, "", _ONLY_TIME),
    Equivalent(_JSON, "StrictParser.parse_first", _SUSPICIOUS, "self._suspicious = True", _ONLY_TIME),
    Equivalent(
        _JSON,
        "StrictParser.parse_first",
        "def parse_first(self, text: str, start: int=0) -> Document:",
        "def parse_first(self, text: str, start: int=-1) -> Document:",
        "a pattern takes a start before the text for 0",
    ),
    Equivalent(_JSON, "StrictParser._object", "return value", "", _ONLY_TIME),
    Equivalent(_JSON, "_may_hide_something", f"{_COUNTED} > MAX_DEPTH:", f"{_COUNTED} >= MAX_DEPTH:", _ONLY_TIME),
    Equivalent(
        _MESSAGES,
        "conversation",
        "last_assistant = max((index for index, role in enumerate(roles) if role == 'assistant'), default=-1)",
        "last_assistant = max((index for index, role in enumerate(roles) if role == 'assistant'), default=-2)",
        "any number says it that is no index",
    ),
    Equivalent(
        _MESSAGES,
        "_role",
        "return role if isinstance(role, str) and role in ROLES else None",
        "return role if role in ROLES else None",
        "every role is a string; only the type checker has to be told",
    ),
    Equivalent(
        _TURNS,
        "_unbalanced",
        f"if roles[index] is None or (calls > answers and {_MISSING}",
        f"if roles[index] is None or (calls >= answers and {_MISSING}",
        "as many answers as calls are balanced, whatever follows",
    ),
    Equivalent(_LINES, "LineSplitter.__init__", "self._ends_with_cr = False", "", _WRITTEN_FIRST),
    Equivalent(
        _LINES, "LineSplitter.__init__", "self._ends_with_cr = False", "self._ends_with_cr = True", _WRITTEN_FIRST
    ),
    Equivalent(
        _LINES,
        "LineSplitter._hold",
        "if self._size <= self._max + 1:",
        "if self._size <= self._max + 2:",
        "one byte more is held, and not looked at",
    ),
    Equivalent(
        _LINES,
        "LineSplitter._hold",
        "self._pending.clear()",
        "",
        "what is held of a line that is too long is not looked at, and goes with the line",
    ),
)
