"""``worker explain``: what became of a task, in order and with causes."""

import pytest

from tests.integration.conftest import World
from tests.integration.test_flow import _finish
from tests.platform import form
from tests.wait import wait_until
from worker.story import UnknownTask, story_of

pytestmark = pytest.mark.parametrize("servers", ["embedded"], indirect=True)


async def test_a_tasks_story_is_told_in_order_with_its_causes(world: World) -> None:
    async with world.worker():
        await world.import_dataset("d1", draft=form("t1", "d1"))
        await world.import_dataset("d11")
        await world.platform.wait_for("cost.estimated", "t1")
        await world.platform.publish("task.created", "t1", form("t1", "d1"), event_id="the-form")
        await wait_until(lambda: len(world.executor.submits) >= 1, 60, "the job")
        await _finish(world, "t1")
        await world.platform.wait_for_phase("t1", "Completed")
    story = await story_of(world.store, "t1")
    assert (story.phase, story.attempt, story.datasets) == ("Completed", 1, ("d1",))
    told = [(chapter.stage, chapter.outcome) for chapter in story.chapters]
    assert told == [
        ("dataset-validation", "validated"),
        ("cost-estimation", "estimated"),
        ("training-dispatch", "dispatched"),
        ("model-export", "exported"),
    ]
    assert story.chapters[2].caused_by == "the-form"
    assert {topic for topic, _ in story.chapters[2].said} >= {"training.dispatched"}
    assert {event_id for _, event_id in story.chapters[0].said} == world.platform.ids("dataset.validated", "d1")


async def test_nothing_is_made_up_about_a_task_nobody_knows(world: World) -> None:
    with pytest.raises(UnknownTask, match="t9"):
        await story_of(world.store, "t9")
