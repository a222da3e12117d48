"""Which one this is of the processes that train a job together, as torchrun says it. Imports no torch."""

import os
from collections.abc import Mapping
from typing import NamedTuple, Self


class Rank(NamedTuple):
    """The number of a process, from 0, among ``size`` of them; and among the ``here`` of its own machine.

    The first speaks for all, and stores what is to last. The first of each machine gathers what is read on it.
    """

    number: int = 0
    size: int = 1
    local: int = 0
    here: int = 1
    machine: int = 0

    @property
    def first(self) -> bool:
        """Return whether this is the process that watches the task, reports, and writes into the bucket."""
        return self.number == 0

    @property
    def first_here(self) -> bool:
        """Return whether this is the first process of its machine."""
        return self.local == 0

    @classmethod
    def of_environment(cls, variables: Mapping[str, str] = os.environ) -> Self:
        """Return the rank that torchrun's variables say; alone without them. Raises ValueError for no number."""
        number, size = int(variables.get("RANK", "0")), int(variables.get("WORLD_SIZE", "1"))
        local, here = int(variables.get("LOCAL_RANK", "0")), int(variables.get("LOCAL_WORLD_SIZE", str(size)))
        return cls(number, size, local, here, int(variables.get("GROUP_RANK", "0")))


class Machine(NamedTuple):
    """Which one this is of the machines that train a job together, from 0, how many they are, and where the first is.

    ``port`` is 0 where one is alone: its processes meet at any.
    """

    number: int = 0
    size: int = 1
    address: str = "127.0.0.1"
    port: int = 0

    @classmethod
    def of_environment(cls, variables: Mapping[str, str] = os.environ) -> Self:
        """Return what an engine says that started one command a machine; alone without it. ValueError for no number."""
        if "GROUP_WORLD_SIZE" not in variables:
            return cls()
        number, size = int(variables["GROUP_RANK"]), int(variables["GROUP_WORLD_SIZE"])
        return cls(number, size, variables["MASTER_ADDR"], int(variables["MASTER_PORT"]))


def started(variables: Mapping[str, str] = os.environ) -> bool:
    """Return whether somebody, such as torchrun, has already started this job's processes."""
    return "WORLD_SIZE" in variables
