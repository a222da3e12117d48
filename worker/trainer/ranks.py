"""Which one this is of the processes that train a job together, as torchrun says it. Imports no torch."""

import os
from collections.abc import Mapping
from typing import NamedTuple, Self


class Rank(NamedTuple):
    """The number of a process, from 0, among ``size`` of them. The first speaks for all."""

    number: int = 0
    size: int = 1

    @property
    def first(self) -> bool:
        """Return whether this is the process that watches the task, reports, and writes into the bucket."""
        return self.number == 0

    @classmethod
    def of_environment(cls, variables: Mapping[str, str] = os.environ) -> Self:
        """Return the rank that RANK and WORLD_SIZE say; alone without them.

        Raises ValueError where they are no numbers, or the processes are not all on this machine: they share files.
        """
        number, size = int(variables.get("RANK", "0")), int(variables.get("WORLD_SIZE", "1"))
        here = int(variables.get("LOCAL_WORLD_SIZE", str(size)))
        if here != size:
            raise ValueError(f"of {size} processes only {here} are on this machine; a job trains on one machine")
        return cls(number, size)


def started(variables: Mapping[str, str] = os.environ) -> bool:
    """Return whether somebody, such as torchrun, has already started this job's processes."""
    return "WORLD_SIZE" in variables
