"""Dead letters for operators: found in Kafka, put back or dropped, with a note of that in the bucket."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any, Literal

from msgspec import Struct

from contracts.codec import Poison, decode
from contracts.envelope import derived_id
from contracts.topics import TOPICS
from handlers import compare_and_set, layout
from handlers.ports.store import ObjectStore
from worker.delivery.dead_letters import reason_of
from worker.delivery.publishing import Publisher
from worker.delivery.redelivery import UNKNOWN
from worker.delivery.source import original_headers
from worker.kafka.broker import Brokers
from worker.kafka.topic_reader import NoSuchTopic, read_topic

#: Says which letter an event was put back from, so that a letter about it leads to the one before.
RETRY_OF = "retry-of"

State = Literal["open", "retried", "dropped"]


class Note(Struct, frozen=True):
    """What was done about a letter, when and by whom."""

    state: State
    at: datetime
    by: str


class Letter(Struct, frozen=True, kw_only=True):
    """One dead letter: the original record, why and where it failed, and what was done about it.

    ``copies`` counts how often it lies in its topic: a crash can send it twice, under one id.
    """

    id: str
    reason: str
    text: str
    topic: str
    partition: int
    offset: int
    stage: str
    attempts: int
    time: datetime
    correlation_id: str | None
    key: bytes | None
    body: bytes | None
    headers: tuple[tuple[str, bytes | None], ...]
    left_out: str | None = None
    copies: int = 1
    note: Note | None = None

    @property
    def state(self) -> State:
        """Return what became of it."""
        return self.note.state if self.note else "open"


class Filter(Struct, frozen=True, kw_only=True):
    """Which letters are meant; what is None does not matter."""

    topic: str | None = None
    reason: str | None = None
    stage: str | None = None
    ids: frozenset[str] | None = None
    since: datetime | None = None
    until: datetime | None = None
    open_only: bool = True

    def matches(self, letter: Letter) -> bool:
        """Return whether a letter is meant."""
        return (
            self.topic in (None, letter.topic)
            and self.reason in (None, letter.reason)
            and self.stage in (None, letter.stage)
            and (self.ids is None or letter.id in self.ids)
            and not (self.open_only and letter.state != "open")
        )


class NotRetryable(Exception):
    """A letter that cannot be put back; the text says why and what can be done."""


async def find(brokers: Brokers, store: ObjectStore, wanted: Filter) -> list[Letter]:
    """Return the letters that are meant, each once, oldest first. Reads the dead-letter topics, commits nothing.

    Raises BrokerUnavailable, Unavailable.
    """
    found: dict[str, Letter] = {}
    for topic in TOPICS.values():
        if wanted.topic not in (None, topic.name):
            continue
        try:
            async for record in read_topic(brokers, topic.dead_letter, wanted.since, wanted.until):
                letter = _letter(record, topic.name)
                again = found.get(letter.id)
                found[letter.id] = _with(again or letter, copies=again.copies + 1 if again else 1)
        except NoSuchTopic:
            continue  # nobody has made the topics yet, so nothing has failed
    noted = [_with(letter, note=await _note(store, letter.id)) for letter in found.values()]
    return sorted(filter(wanted.matches, noted), key=lambda letter: letter.time)


def hopeless(letter: Letter) -> str | None:
    """Return why putting a letter back can only make another letter, and what to do instead; None where it may help.

    By this release: its codec is asked again, for a contract may have been widened since. Pure.
    """
    if letter.topic not in TOPICS or letter.left_out:
        return None
    try:
        decode(letter.topic, letter.key, letter.body, letter.headers)
    except Poison as error:
        return (
            f"letter {letter.id} is refused unchanged ({error.reason}: {error}); publish a corrected event to "
            f"{letter.topic}, then worker dead-letters drop {letter.id}"
        )
    return None


async def put_back(letter: Letter, publisher: Publisher, store: ObjectStore, by: str) -> None:
    """Send the original record to its topic again, then note it. A crash between sends it twice: the same event.

    Raises:
        NotRetryable: the letter was too large to hold the record's body.
        Unavailable: broker or bucket do not answer.
    """
    if letter.left_out:
        raise NotRetryable(
            f"letter {letter.id} has no body ({letter.left_out} were too many); while {letter.topic} still has it, "
            f"worker replay {letter.topic} reads it there (partition {letter.partition}, offset {letter.offset})"
        )
    headers = [*letter.headers, (RETRY_OF, letter.id.encode())]
    await publisher.send([(letter.topic, letter.key, letter.body, headers)])
    await note(store, letter.id, "retried", by)


async def note(store: ObjectStore, letter_id: str, state: State, by: str) -> None:
    """Note what was done about a letter. Idempotent; the last note stands."""
    said = Note(state, datetime.now(UTC), by)
    await compare_and_set.update(store, layout.letter_note(letter_id), Note, lambda _: said)


def totals(letters: Iterable[Letter]) -> dict[str, int]:
    """Return how many letters there are a reason, most first."""
    counted: dict[str, int] = {}
    for letter in letters:
        counted[letter.reason] = counted.get(letter.reason, 0) + 1
    return dict(sorted(counted.items(), key=lambda pair: -pair[1]))


async def _note(store: ObjectStore, letter_id: str) -> Note | None:
    return await compare_and_set.read(store, layout.letter_note(letter_id), Note)


def _letter(record: Any, topic: str) -> Letter:
    said = reason_of(record.headers)
    return Letter(
        # A record that somebody else put there has none of ours: it is still shown.
        id=said.get("id") or derived_id("foreign-letter", record.topic, record.partition, record.offset),
        reason=said.get("reason", UNKNOWN),
        text=said.get("text", "not a dead letter of this service"),
        topic=said.get("topic", topic),
        partition=int(said.get("partition", record.partition)),
        offset=int(said.get("offset", record.offset)),
        stage=said.get("stage", UNKNOWN),
        attempts=int(said.get("attempts", 0)),
        time=datetime.fromisoformat(said["time"]) if "time" in said else _written(record.timestamp),
        correlation_id=said.get("correlation_id"),
        key=record.key,
        body=record.value,
        headers=_headers(original_headers(record.headers)),
        left_out=said.get("body_left_out"),
    )


def _headers(headers: Sequence[tuple[str, bytes | None]]) -> tuple[tuple[str, bytes | None], ...]:
    return tuple((name, value) for name, value in headers if name != RETRY_OF)


def _written(timestamp_ms: int) -> datetime:
    return datetime.fromtimestamp(max(timestamp_ms, 0) / 1000, UTC)


def _with(letter: Letter, **changes: Any) -> Letter:
    fields = {name: getattr(letter, name) for name in letter.__struct_fields__}
    return Letter(**(fields | changes))
