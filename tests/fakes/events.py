"""Inbound events, as the codec makes them."""

from typing import Any

from contracts.codec import decode, encode_body
from contracts.envelope import Event

#: The record's timestamp: 2026-01-01T00:00:00Z, where a ManualClock begins.
TIMESTAMP_MS = 1_767_225_600_000


def event(topic: str, body: Any, *, timestamp_ms: int = TIMESTAMP_MS, **headers: str) -> Event[Any]:
    """Return the event of a record with this body (a mapping, a Struct or bytes) and these ``ce_`` headers."""
    raw = body if isinstance(body, bytes) else encode_body(body)
    sent = [(f"ce_{name}", value.encode()) for name, value in headers.items()]
    return decode(topic, None, raw, sent, timestamp_ms)
