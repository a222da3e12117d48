"""Python's garbage collector, set for a process that takes records in by the thousand."""

import gc

#: Objects made and not yet freed, above which the collector looks. A batch is 1,000 records of some ten objects; the
#: default of 700 looks through it twenty times, and every look finds a batch that is still being worked on.
_OBJECTS = 20_000


def spare_records() -> None:
    """Let the collector look less often, and no more at what is there now. For a whole process; may be called twice.

    Records, events and lanes are freed by their reference counts; cycles, which only the collector frees, come from
    errors and tasks, and are still found. ``python -m tests.bench.events`` measures what it is worth.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_OBJECTS, 20, 50)
