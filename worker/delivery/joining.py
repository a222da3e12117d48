"""What the client logs while a fresh cluster only just makes its groups' coordinator, and nobody needs to read."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic

from aiokafka.errors import GroupCoordinatorNotAvailableError

#: Seconds that a fresh cluster may take until it knows who coordinates a group; a loaded machine took 30.
_MADE_SECONDS = 60.0


@contextmanager
def joining() -> Iterator[None]:
    """Keep the client, in the block, from telling that a fresh cluster only just makes its groups' coordinator.

    Two messages, for _MADE_SECONDS at most: a coordinator that is still missing then is worth reading about. Whatever
    else it says of groups is logged, and after the block these two are, too.
    """
    begun = monotonic()

    def told(record: logging.LogRecord) -> bool:
        return monotonic() - begun > _MADE_SECONDS or not _is_of_a_fresh_group(record)

    logger = logging.getLogger("aiokafka.consumer.group_coordinator")
    logger.addFilter(told)
    try:
        yield
    finally:
        logger.removeFilter(told)


def _is_of_a_fresh_group(record: logging.LogRecord) -> bool:
    if record.msg == "Group Coordinator Request failed: %s":
        return isinstance(record.args, tuple) and isinstance(record.args[0], GroupCoordinatorNotAvailableError)
    # It follows where a coordinator says that it is not ready. Before that of one that is gone comes an error.
    return record.getMessage().startswith("Marking the coordinator dead")
