"""Mutants that no test can notice, or that none shall, each with the reason."""

from typing import NamedTuple


class Equivalent(NamedTuple):
    """A mutant by what :attr:`Mutation.key` says of it."""

    file: str
    scope: str
    was: str
    becomes: str
    why: str


EQUIVALENT: tuple[Equivalent, ...] = ()
