"""The envelope every event travels in: CloudEvents 1.0, and ids that follow from the cause.

https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/bindings/kafka-protocol-binding.md
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Generic, TypeVar
from uuid import UUID, uuid5

from msgspec import Meta, Struct

Body = TypeVar("Body")

#: The end of a pattern. Python's ``$`` alone also matches before a final newline.
END = r"$(?!\n)"

#: Task, dataset and command ids: opaque to us, safe in a path and a header.
Id = Annotated[
    str,
    Meta(pattern=r"^[A-Za-z0-9._-]{1,128}" + END, description="1-128 characters of A-Z a-z 0-9 . _ -"),
]

#: Whose everything is that does not say so.
DEFAULT_PROJECT = "default"

#: A moment. One without a zone could not be compared with any other, so it breaks the contract.
Time = Annotated[datetime, Meta(tz=True, description="RFC 3339, with its time zone; ours are UTC")]

#: The namespace of every id we derive. Changing it would make every replay a new story.
NAMESPACE = UUID("6f3a3f0e-52f0-5f3c-9d7e-0d1f4f3b7a51")


class Event(Struct, Generic[Body], frozen=True, kw_only=True):
    """One thing that happened, with where it came from.

    ``data`` is the decoded body; ``body`` the bytes as they were received, kept because a dead letter must be able
    to give them back unchanged and because a form is judged field by field.
    """

    topic: str
    key: str
    id: str
    type: str
    source: str
    time: datetime
    data: Body
    body: bytes = b""
    subject: str | None = None
    correlation_id: str | None = None
    causation_id: str | None = None
    traceparent: str | None = None


def derived_id(*cause: str | int) -> str:
    """Return the UUIDv5 of a cause: (stage, stage version, business key, event type, ordinal).

    The same cause gives the same id on every machine and in every year, which is what makes a redelivered, a crashed
    and a replayed event the same event to whoever reads ours.
    """
    # Length-prefixed, so that ("a", "b:c") and ("a:b", "c") differ.
    return str(uuid5(NAMESPACE, "".join(f"{len(str(part))}:{part}" for part in cause)))


def inbound_id(topic: str, key: bytes | None, body: bytes | None) -> str:
    """Return the id of an event that came without ``ce_id``: a replay of the same bytes is the same event."""
    return derived_id("inbound", topic, (key or b"").hex(), (body or b"").hex())


Headers = Sequence[tuple[str, bytes | None]]
