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
_DETECT = "handlers/validation/detect.py"
_CONCLUSION = "handlers/validation/conclusion.py"
_MESSAGES = "handlers/validation/rules_messages.py"
_TURNS = "handlers/validation/rules_turns.py"

_SUSPICIOUS = "self._suspicious = False"
_COUNTED = "if text.count('[', begin, end) + text.count('{', begin, end)"
_MISSING = "index + answers + 1 < len(roles) and (roles[index + answers + 1] is None)):"

_SPACE_BEFORE = r"while comma > 0 and text[comma] in ' \t\n\r':"
_TRAILING = "(comma != error.pos and text[comma:comma + 1] == ','):"
_KIND = "named = Counter((kind for kind in seen if kind and conversion(kind)))"
_ADDED = "for finding in files[index].findings]"

_BRACKET_BEFORE = (
    "behind a closing bracket's spaces stands something else, unless nothing does, and then there is no comma"
)
_FROM_313 = "only Python 3.13 and later say so"
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
    Equivalent(_JSON, "_refusal", _SPACE_BEFORE, r"while text[comma] in ' \t\n\r':", _BRACKET_BEFORE),
    Equivalent(_JSON, "_refusal", _SPACE_BEFORE, r"while comma >= 0 and text[comma] in ' \t\n\r':", _BRACKET_BEFORE),
    Equivalent(_JSON, "_refusal", _SPACE_BEFORE, r"while comma > 1 and text[comma] in ' \t\n\r':", _BRACKET_BEFORE),
    Equivalent(_JSON, "_refusal", _SPACE_BEFORE, r"while comma > -1 and text[comma] in ' \t\n\r':", _BRACKET_BEFORE),
    Equivalent(
        _JSON,
        "_refusal",
        f"if error.msg.startswith('Illegal trailing comma') or {_TRAILING}",
        "if comma != error.pos and text[comma:comma + 1] == ',':",
        _FROM_313,
    ),
    Equivalent(
        _JSON,
        "_refusal",
        f"if error.msg.startswith('Illegal trailing comma') or {_TRAILING}",
        f"if error.msg.endswith('Illegal trailing comma') or {_TRAILING}",
        _FROM_313,
    ),
    Equivalent(
        _CONCLUSION,
        "conclude",
        f"added = [finding for index in sorted(strangers) {_ADDED}",
        f"added = [finding for index in list(strangers) {_ADDED}",
        "CPython has a set of small numbers in order",
    ),
    Equivalent(
        _DETECT,
        "foreigner",
        f"{_KIND}.most_common(1)",
        "named = Counter((kind for kind in seen if conversion(kind))).most_common(1)",
        "None has no conversion",
    ),
    Equivalent(
        _DETECT, "foreigner", f"{_KIND}.most_common(1)", f"{_KIND}.most_common(2)", "only the first is looked at"
    ),
    Equivalent(
        _DETECT,
        "foreigner",
        "return named[0][0] if named else None",
        "return named[-1][0] if named else None",
        "there is one",
    ),
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
)
