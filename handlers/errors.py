"""What an error means to delivery. Anything that is not one of these is a bug: few retries, then a loud dead letter.

Poison, the third meaning (contracts/codec.py), is never raised by a handler: once an event is decoded, it is answered.
"""


class Transient(Exception):
    """It may work in a moment: retried with backoff a bounded number of times, then postponed or dead-lettered."""


class Unavailable(Transient):
    """Something the whole service stands on (bucket, executor) does not answer: retried without end, in place.

    Dead-lettering would drain a topic because a bucket was down for an hour.
    """


class PreconditionFailed(Exception):
    """A conditional put or a pinned read lost: the object is not what the caller said it was."""


class OutsideBucket(ValueError):
    """A URI that does not lead into our bucket. Never followed."""
