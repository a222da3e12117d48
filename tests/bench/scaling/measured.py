"""Measured figures that the model rests on, each with the command that measures it.

From a machine with two cores that others used too: read them as sizes, and measure your own. All are seconds of one
core's time, but for the rates.
"""

#: ``python -m tests.bench.scaling --measure``: one request through the S3 client, whatever the answer takes to come.
READ_SECONDS = 1.4e-3
WRITE_SECONDS = 1.6e-3
#: The same: an object in a page of a listing.
LISTED_SECONDS = 90e-6
#: The same: opening the bucket, as a process of the pool does for every file.
OPEN_SECONDS = 44e-3
#: The same: a look of the reconciler at a task that runs, the engine in memory.
LOOK_SECONDS = 1.5e-3

#: ``python -m tests.bench.events --only intake``: 66,500 records a second.
TAKE_IN_SECONDS = 1 / 66_500
#: ``python -m tests.bench.events --only progress``: 41,800 events a second, taken in and folded over memory.
FOLDED_SECONDS = 1 / 41_800
#: ``python -m tests.bench.events --only publishing``: 13,900 events a second. Most of it is waiting for the broker, so
#: as a core's time it is too much rather than too little.
PUBLISHED_SECONDS = 1 / 13_900
#: ``python -m tests.bench.scaling --measure``: a piece of work over a bucket in memory.
HANDLED_SECONDS = 0.4e-3

#: ``make bench-validate``: bytes of sft a second.
SCANNED_BYTES = 273e6
#: ``python -m tests.bench.tokens``: tokens a second of sft with six turns, counted by the checked fast tokenizer.
COUNTED_TOKENS = 1.23e6
