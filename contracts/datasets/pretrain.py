"""The format ``pretrain``: a text a line, for Pretrain.

{"text": "..."}
"""

from msgspec import Struct

from contracts.datasets.sft import Text


class Sample(Struct, frozen=True, kw_only=True):
    """One line."""

    text: Text
