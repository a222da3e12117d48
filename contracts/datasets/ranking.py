"""The format ``ranking``: a query and documents a line, for Embedding.

    {"query": "...", "docs": [{"text": "...", "label": 0}, {"text": "...", "label": 1}]}

These Structs say the shape of a sample; a sample that is valid decodes into :class:`Sample`. How many documents of each
kind there may be is in handlers/validation.
"""

from typing import Annotated

from msgspec import Meta, Struct

from contracts.datasets.sft import Text

MOST_NEGATIVES = 5

#: 1 or true: the document answers the query; 0 or false: it does not. In any spelling of these numbers.
Label = Annotated[float, Meta(ge=0, le=1)] | bool


class Doc(Struct, frozen=True, kw_only=True):
    """One document and whether it answers the query."""

    text: Text
    label: Label


class Sample(Struct, frozen=True, kw_only=True):
    """One line. Exactly one document is positive."""

    query: Text
    docs: Annotated[list[Doc], Meta(min_length=1, max_length=1 + MOST_NEGATIVES)]
