"""The port that all tokenizing goes through: what the encoder needs of a tokenizer, and nothing else."""

from collections.abc import Sequence
from typing import Protocol


class Tokens(Protocol):
    """The tokens of one text."""

    @property
    def ids(self) -> Sequence[int]:
        """Return the token ids, in order."""
        ...

    def within(self, start: int, end: int) -> tuple[int, int]:
        """Return (first, end) of the tokens that characters [start, end) of the text became; end is excluded.

        A token that straddles ``start`` or ``end`` is one of them: a model that writes these characters writes it.
        An added token that straddles ``start`` is not: it swallowed white space behind it, and stands in the prompt
        whole.
        """
        ...


class TextTokenizer(Protocol):
    """Texts to tokens, without special tokens around them; those within a text are read as the model reads them.

    Deterministic, never truncates, usable from several threads. Every implementation gives the same answers.
    """

    def tokenize(self, texts: Sequence[str]) -> Sequence[Tokens]:
        """Return the tokens of each text."""
        ...

    def ids(self, texts: Sequence[str]) -> Sequence[Sequence[int]]:
        """Return the token ids of each text: the same as ``tokenize`` gives, for less."""
        ...
