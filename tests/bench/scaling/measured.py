"""Measured figures that the model rests on, each with the command that measures it.

On a machine with two cores that others used too: read them as sizes, and measure your own. Seconds are processor time
of one core.
"""

#: ``python -m tests.bench.scaling --measure``: one request through the S3 client, whatever the server's answer takes.
READ_SECONDS = 1.5e-3
WRITE_SECONDS = 1.7e-3
#: The same: an object in a page of a listing.
LISTED_SECONDS = 180e-6
#: The same: opening the bucket, as a process of the pool does for every file.
OPEN_SECONDS = 15e-3

#: ``python -m tests.bench.events --only intake``: 77,100 records a second.
TAKE_IN_SECONDS = 1 / 77_100
#: ``python -m tests.bench.events --only progress``: 54,600 events a second, over a bucket in memory.
FOLDED_SECONDS = 1 / 54_600
#: ``python -m tests.bench.events --only publishing``: events a second.
PUBLISHED_SECONDS = 1 / 45_000
#: Deciding a piece of work over a bucket in memory: the same command's group ``stage``, without its disk.
HANDLED_SECONDS = 0.4e-3

#: ``make bench-validate``: bytes of sft a second.
SCANNED_BYTES = 273e6
#: ``python -m tests.bench.tokens``: tokens counted a second, whole dataset, fast and reference tokenizer.
COUNTED_TOKENS = 2.0e6
COUNTED_TOKENS_REFERENCE = 0.4e6
