"""Dead letters on real brokers: listed with why, put back unchanged, and done with."""

import pytest

from handlers import layout
from tests.integration.conftest import World
from tests.wait import wait_until
from worker import letters
from worker.kafka.broker import Brokers
from worker.letters import Filter, Letter, NotRetryable

HEADERS = [("ce_id", b"e-1"), ("x-team", b"blue")]


async def found(world: World, **wanted: object) -> list[Letter]:
    return await letters.find(Brokers.of(world.settings), world.store, Filter(**wanted))  # type: ignore[arg-type]  # whatever a test asks for


@pytest.fixture
async def story(world: World) -> World:
    """Two letters of two topics, and no worker any more."""
    async with world.worker():
        await world.platform.send("task.created", b"t1", b"not JSON", HEADERS)
        await world.platform.send("task.command", b"t2", b'{"task_id": "t2"}')
        await wait_until(lambda: len(world.platform.letters) == 2, 60, "both letters")
    return world


async def test_they_are_found_with_all_there_is_to_know(story: World) -> None:
    (letter,) = await found(story, topic="task.created")
    assert (letter.reason, letter.stage, letter.key, letter.body) == (
        "invalid-json", "training-dispatch", b"t1", b"not JSON",
    )  # fmt: skip
    assert letter.headers == tuple(HEADERS)
    assert letters.totals(await found(story)) == {"invalid-json": 1, "breaks-contract": 1}
    assert [each.topic for each in await found(story, reason="breaks-contract")] == ["task.command"]
    assert await found(story, stage="model-export") == []
    assert await found(story, since=letter.time.replace(year=letter.time.year + 1)) == []


async def test_one_that_is_put_back_is_the_original_and_fails_as_a_letter_of_its_own(story: World) -> None:
    (letter,) = await found(story, topic="task.created")
    await letters.put_back(letter, story.platform.publisher, story.store, "an operator")
    assert await found(story, topic="task.created") == []
    async with story.worker():
        await wait_until(lambda: len(story.platform.letters) == 3, 60, "the next letter")
    (again,) = await found(story, topic="task.created")
    assert again.id != letter.id
    assert (again.key, again.body, again.headers) == (letter.key, letter.body, letter.headers)
    (old,) = [each for each in await found(story, topic="task.created", open_only=False) if each.id == letter.id]
    assert old.note is not None
    assert (old.state, old.note.by) == ("retried", "an operator")


async def test_one_that_is_dropped_is_listed_no_more(story: World) -> None:
    (letter,) = await found(story, topic="task.command")
    await letters.note(story.store, letter.id, "dropped", "an operator")
    assert await found(story, topic="task.command") == []
    assert await story.store.get(layout.letter_note(letter.id)) is not None


async def test_one_without_its_body_is_not_put_back(story: World) -> None:
    (letter,) = await found(story, topic="task.command")
    without = letters._with(letter, body=b"", left_out="2000000 bytes")
    with pytest.raises(NotRetryable, match=r"worker replay task\.command"):
        await letters.put_back(without, story.platform.publisher, story.store, "an operator")
