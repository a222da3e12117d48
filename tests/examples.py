"""The example events, each named after what it pins."""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from contracts.codec import encode
from contracts.envelope import Event
from contracts.topics import TOPICS

EVENTS = Path(__file__).parent.parent / "contracts" / "examples" / "events"
EVERY_EVENT = [
    pytest.param(path.parent.name, path.read_bytes(), id=f"{path.parent.name}/{path.stem}")
    for path in sorted(EVENTS.glob("*/*.json"))
]


def example(topic: str, name: str) -> bytes:
    """Return the body of one example."""
    return (EVENTS / topic / f"{name}.json").read_bytes()


def as_contract(topic: str, body: bytes) -> Any:
    """Return a body as its contract's Struct, also where the codec reads it more laxly."""
    return msgspec.json.decode(body, type=TOPICS[topic].contract)


def as_sent(event: Event[Any]) -> tuple[bytes, bytes, list[tuple[str, bytes | None]]]:
    """Return (key, body, headers) of an event as a consumer gets them."""
    key, body, headers = encode(event)
    return key, body, [(name, value) for name, value in headers]
