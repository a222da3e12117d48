"""Tasks that wait for a quota: what they are told, who is next, and what commands make of them."""

from decimal import Decimal
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from contracts.task import Phase
from handlers import layout
from handlers.tenancy.limits import Limits
from handlers.tenancy.projects import ProjectRules, Projects
from tests.fakes.faults import faulty_world
from tests.fakes.quotas import ended, gpus, grants, limited, phase, started, submits, submitted
from tests.fakes.swept import PATIENCE, Swept
from tests.fakes.world import World, command_event, statuses
from worker.sweeps.admission_places import TOLD_AT_ONCE

WAITING = "waiting-for-quota"


async def test_without_quotas_nothing_is_asked_of_the_bucket_because_of_them_and_nothing_waits() -> None:
    world, faults = faulty_world()
    world.ports["projects"] = Projects(ProjectRules(read=("",)))
    swept = Swept(world)
    await submits(world, submitted("t-1"))
    assert started(world) == ["t-1"]
    await swept.sweep()
    await world.run(command_event("stop"), skip=["model-export"])
    await swept.sweep(after=PATIENCE)
    assert [call for call in faults.calls if "admission/" in call or "quotas/" in call] == []


async def test_a_task_over_its_quota_waits_says_so_and_starts_once_another_has_ended() -> None:
    swept = limited(running_tasks=1)
    world = swept.world
    await submits(world, submitted("t-1"), submitted("t-2", minutes=1), submitted("t-3", minutes=2))
    assert started(world) == [], "whom the quota has room for is for the reconciler to say"
    said = statuses(await swept.sweep())
    assert started(world) == ["t-1"]
    told = {each.task_id: (each.phase, each.reason, each.queue_position, each.message) for each in said}
    message = "waits for a quota: 1 of 1 tasks of project default run"
    assert told == {"t-2": (Phase.QUEUED, WAITING, 1, message), "t-3": (Phase.QUEUED, WAITING, 2, message)}
    assert statuses(await swept.sweep()) == [], "what was said is not said again"
    await ended(swept, "t-1")
    said = statuses(await swept.sweep(after=60))
    assert started(world) == ["t-1", "t-2"]
    assert [(each.task_id, each.reason, each.queue_position) for each in said] == [
        ("t-2", "admitted", None), ("t-3", WAITING, 1),
    ]  # fmt: skip
    await ended(swept, "t-2")
    await swept.sweep()
    assert started(world) == ["t-1", "t-2", "t-3"]
    assert world.keys("admission/") == []


async def test_nothing_is_done_about_those_that_wait_however_long() -> None:
    swept = limited(running_tasks=0)
    await submits(swept.world, submitted("t-1"))
    await swept.sweep()
    for _ in range(5):
        assert statuses(await swept.sweep(after=3 * PATIENCE)) == []
    state = await swept.world.state("t-1")
    assert (state.phase, state.attempt, state.retry_count) == (Phase.QUEUED, 1, 0)


async def test_between_projects_the_one_with_fewer_running_is_next_though_it_came_later() -> None:
    swept = limited(platform=Limits(running_tasks=2))
    world = swept.world
    await submits(world, *(submitted(f"a-{number}", "a", number) for number in range(3)), submitted("b-0", "b", 9))
    await swept.sweep()
    assert started(world) == ["a-0", "b-0"]
    await ended(swept, "b-0")
    await swept.sweep(after=60)
    assert started(world) == ["a-0", "b-0", "a-1"], "nobody else waits"
    assert (await phase(world, "a-2"))[2] == 1


@pytest.mark.parametrize(
    ("limits", "words"),
    [
        ({"gpu_hours_a_day": 1.5}, "it may take 2 GPU-hours, and 0 of the 1.5 a day"),
        ({"spend_a_day": Decimal("0.0017")}, "it costs 0.0018, and 0 of the 0.0017 a day"),
    ],
)
async def test_what_is_more_than_a_whole_quota_is_refused_and_holds_up_nobody(
    limits: dict[str, Any], words: str
) -> None:
    swept = limited(**limits)
    gpus(swept.world, 2)
    await submits(swept.world, submitted("t-1"))
    said = statuses(await swept.sweep())
    (status,) = [each for each in said if each.phase is Phase.FAILED][:1]
    assert (status.reason, status.party) == ("quota-too-small", "user")
    assert words in status.message
    assert "ask this platform's operators for a larger quota" in status.message
    await swept.sweep()
    assert (swept.world.keys("admission/"), swept.world.keys("active/")) == ([], [])
    assert swept.world.executor.submits == []


async def test_gpu_hours_are_promised_until_the_time_limit_and_what_is_left_is_given_back() -> None:
    swept = limited(gpu_hours_a_day=5)
    world = swept.world
    gpus(world, 2)
    await submits(world, *(submitted(f"t-{number}", minutes=number) for number in range(4)))
    await swept.sweep()
    assert started(world) == ["t-0", "t-1"], "2 and 2 of 5"
    await world.progress("running", 1, "t-0")
    await swept.sweep()
    await world.clock.advance(900)
    await ended(swept, "t-0")
    await swept.sweep()
    assert started(world) == ["t-0", "t-1", "t-2"], "half an hour, 2 and 2 of 5"
    await swept.sweep(after=86_400)
    assert started(world)[-1] == "t-3", "another day"


async def test_a_task_is_paid_for_once_however_often_it_is_tried() -> None:
    swept = limited(spend_a_day=Decimal("0.002"))
    world = swept.world
    await submits(world, submitted("t-1"))
    await swept.sweep()
    world.executor.end("t-1", 1, 1)
    await swept.sweep(after=PATIENCE)
    await swept.sweep(after=PATIENCE)
    assert world.executor.started == [("t-1", 1), ("t-1", 2)]
    assert (await grants(world)).used("default").spend == Decimal("0.0018")


async def test_a_retry_waits_behind_no_later_task_of_its_project() -> None:
    swept = limited(running_tasks=1)
    world = swept.world
    await submits(world, submitted("t-1"), submitted("t-2", minutes=1))
    await swept.sweep()
    world.executor.end("t-1", 1, 1)
    await swept.sweep(after=PATIENCE)
    await swept.sweep()
    await swept.sweep()
    assert world.executor.started == [("t-1", 1), ("t-1", 2)]


@pytest.mark.parametrize("command", ["stop", "pause"])
async def test_a_command_takes_a_task_out_of_the_queue(command: str) -> None:
    swept = limited(running_tasks=1)
    world = swept.world
    await submits(world, *(submitted(f"t-{number}", minutes=number) for number in range(1, 4)))
    await swept.sweep()
    await world.run(command_event(command, "t-2"))
    assert [key for key in world.keys("admission/") if "t-2" in key] == []
    await swept.sweep(after=PATIENCE)
    assert (await phase(world, "t-2"))[0] is {"stop": Phase.TERMINATED, "pause": Phase.PAUSED}[command]
    await swept.sweep(after=60)
    assert await phase(world, "t-3") == (Phase.QUEUED, WAITING, 1)
    await ended(swept, "t-1")
    await swept.sweep()
    assert started(world) == ["t-1", "t-3"]


async def test_a_pause_frees_a_place_and_a_resume_waits_for_one() -> None:
    swept = limited(running_tasks=1)
    world = swept.world
    await submits(world, submitted("t-1"), submitted("t-2", minutes=1))
    await swept.sweep()
    await world.progress("running", 1)
    await world.run(command_event("pause"))
    await world.progress("stopped", 2)
    await swept.sweep()
    assert started(world) == ["t-1", "t-2"]
    await world.run(command_event("resume"))
    await swept.sweep()
    await swept.sweep()
    assert await phase(world, "t-1") == (Phase.QUEUED, WAITING, 1)
    await ended(swept, "t-2")
    await swept.sweep()
    assert world.executor.started == [("t-1", 1), ("t-2", 1), ("t-1", 2)]


async def test_where_quotas_are_taken_away_those_that_wait_start() -> None:
    swept = limited(running_tasks=0)
    await submits(swept.world, submitted("t-1"))
    await swept.sweep()
    swept.world.ports["projects"] = Projects()
    swept.reconciler = swept.another()
    await swept.sweep()
    assert started(swept.world) == ["t-1"]


async def test_what_ran_before_there_were_quotas_runs_on() -> None:
    world = World()
    await submits(world, submitted("t-1"))
    swept = limited(world, running_tasks=0)
    world.executor.lose("t-1", 1)
    await swept.sweep()
    assert [spec.attempt for spec in world.executor.submits] == [1, 1], "it is handed over again, and does not wait"


async def test_those_that_wait_cost_a_sweep_no_more_than_their_listings_once_they_were_told() -> None:
    world, faults = faulty_world()
    swept = limited(world, running_tasks=1)
    await submits(world, submitted("t-1"), submitted("t-2"))
    await swept.sweep()
    (place,) = world.keys("admission/")
    state = await world.state("t-2")
    for number in range(500):
        task_id = f"w-{number:03}"
        told = replace(state, task_id=task_id, queue_position=number + 2)
        world.store.objects |= {
            layout.active(task_id): b"",
            layout.task(task_id, "state"): msgspec.json.encode(told),
            layout.admission(task_id, "default", world.clock.now()): world.store.objects[place],
        }
    costs = []
    for _ in range(7):
        before = len(faults.calls)
        await swept.sweep()
        costs.append(len(faults.calls) - before)
    assert max(costs) < TOLD_AT_ONCE + 12, "a read each for those whose state says it already"
    assert costs[-1] < 12, "three listings, the ledger, and the one that runs"
    assert started(world) == ["t-1"]
