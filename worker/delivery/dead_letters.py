"""Dead letters: the original record, unchanged, with why it could not be processed. Nothing is committed past one that
is not on the broker."""

from datetime import datetime

from contracts.envelope import Headers, derived_id
from contracts.topics import TOPICS
from handlers.table import Stage
from worker.delivery.item import Item
from worker.delivery.source import LETTER_PREFIX, original_headers

_LONGEST_TEXT = 2000

#: Topic, key, body, headers.
Letter = tuple[str, bytes | None, bytes | None, list[tuple[str, bytes]]]


def dead_letter(item: Item, *, stage: Stage, reason: str, text: str, now: datetime) -> Letter:
    """Return (topic, key, body, headers) of a dead letter.

    Its id follows from the source offset: however often a record fails, and in whichever worker, it is one letter.
    Headers the client cannot send (null) are named in ``dl_null_headers``; all others are carried as they came.
    """
    record, source = item.record, item.source
    ours = {
        "id": derived_id("dead-letter", source.topic, source.partition, source.offset),
        "reason": reason,
        "text": text[:_LONGEST_TEXT],
        "topic": source.topic,
        "partition": str(source.partition),
        "offset": str(source.offset),
        "stage": stage.name,
        "timestamp": str(source.timestamp),
        "attempts": str(item.attempts),
        "time": now.isoformat(),
        "correlation_id": item.event.correlation_id if item.event else None,
        "null_headers": ",".join(name for name, value in record.headers if value is None) or None,
    }
    carried = [(name, value) for name, value in original_headers(record.headers) if value is not None]
    # An error's text may quote what has no UTF-8.
    said = [
        (LETTER_PREFIX + name, value.encode(errors="backslashreplace"))
        for name, value in ours.items()
        if value is not None
    ]
    # A record that somebody else put into a delay topic has no topic of its own.
    topic = TOPICS.get(source.topic) or TOPICS[stage.topics[0]]
    return topic.dead_letter, record.key, record.value, carried + said


def without_body(letter: Letter) -> Letter:
    """Return a letter that is too large for the broker without its body, which its source offset still leads to."""
    topic, key, body, headers = letter
    return topic, key, b"", [*headers, (f"{LETTER_PREFIX}body_left_out", f"{len(body or b'')} bytes".encode())]


def reason_of(headers: Headers) -> dict[str, str]:
    """Return our part of a dead letter's headers, without the prefix."""
    return {
        name.removeprefix(LETTER_PREFIX): value.decode()
        for name, value in headers
        if value and name.startswith(LETTER_PREFIX)
    }
