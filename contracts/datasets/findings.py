"""What can be wrong with a dataset: stable codes, their severity, and one entry a finding."""

from typing import Literal

from msgspec import Struct

Severity = Literal["error", "warning", "note"]


class Finding(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One fault of one line.

    ``line`` is 1-based (a finding about the whole file has line 1); ``pointer`` is an RFC 6901 JSON pointer into the
    line's object, empty for the whole line; ``file`` is the index of the file in the dataset.
    """

    line: int
    pointer: str
    code: str
    severity: Severity
    message: str
    hint: str = ""
    file: int = 0
