"""What to do about a line that is not JSON, told from where it stops making sense."""

_WHITE_SPACE = " \t\n\r"

#: What Python prints, and what JSON has instead.
_PYTHON = {"None": "null", "True": "true", "False": "false"}

_ESCAPES = {"\t": "\\t", "\r": "\\r", "\n": "\\n", "\b": "\\b", "\f": "\\f"}


def json_hint(text: str, message: str, position: int) -> str:
    """Return how to mend a line that a parser refused with this message at this 0-based character. Never raises."""
    end = len(text.rstrip(_WHITE_SPACE))
    at = text[position : position + 1]
    if message.startswith("unterminated string"):
        return "the line ends inside a text: write a line break in a text as \\n, or add what was cut off"
    if position >= end:
        return "the line ends inside a value: write each object on one line, or add what was cut off"
    if message.startswith("there is more") and at == "," and position == end - 1:
        return "remove the comma at the end of the line"
    if message.startswith("invalid control character"):
        return "write it as an escape: " + _ESCAPES.get(at, f"\\u{ord(at):04x}")
    if message.startswith("invalid \\"):
        return "write a backslash in a text as \\\\"
    return _hint_at(text, message, position)


def _hint_at(text: str, message: str, position: int) -> str:
    at = text[position]
    if at == "'":
        return "write double quotes, as JSON has them: Python's json.dumps does, print and str do not"
    if at in "“”„«»":
        return 'write straight double quotes: "'
    if at == "," and message.startswith("a comma"):
        return "remove the comma"
    if text.startswith(("//", "/*", "#"), position):
        return "remove the comment: JSON has none"
    for word, instead in _PYTHON.items():
        if text.startswith(word, position):
            return f"write {instead} instead of {word}: Python's json.dumps does"
    if message.startswith("expecting property name"):
        return "write the names of fields in double quotes"
    if message.startswith("expecting ',' delimiter"):
        return 'write a comma between two entries, and a double quote inside a text as \\"'
    return "write one JSON object a line"
