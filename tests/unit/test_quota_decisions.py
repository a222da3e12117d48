"""Quotas, as decided: who may start, who waits for what, and what is charged and given back. Pure."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from contracts.task import Phase, Settlement
from handlers.task_state import TaskState
from handlers.tenancy import ledger
from handlers.tenancy.fairness import next_to_start, shortage
from handlers.tenancy.ledger import Ask, Charged, Ledger
from handlers.tenancy.limits import Limits
from handlers.tenancy.projects import ProjectRules, Projects
from worker.catalog.projects import load_projects
from worker.settings import Settings, SettingsError
from worker.storage.s3 import S3Store

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
HOUR = 3600


def ask(task_id: str = "t", project: str = "a", minutes: float = 0, attempt: int = 1, **needs: Any) -> Ask:
    submitted = NOON + timedelta(minutes=minutes)
    return Ask(task_id=task_id, attempt=attempt, project=project, submitted_at=submitted, **needs)


def granting(*asks: Ask, now: datetime = NOON) -> Ledger:
    found = ledger.on_day_of(Ledger(), now)
    for each in asks:
        found = ledger.with_grant(found, each, now)
    return found


def state(task_id: str = "t", **fields: Any) -> TaskState:
    return replace(TaskState(task_id=task_id, attempt=1, phase=Phase.RUNNING, seq=3), **fields)


def limited(platform: Limits | None = None, **limits: Any) -> Projects:
    return Projects(ProjectRules(limits=Limits(**limits)), platform=platform)


def test_of_the_able_the_project_that_holds_the_fewest_gpus_goes_first_then_who_has_waited_longest() -> None:
    held = granting(ask("1", "a", gpus=4), ask("2", "b", gpus=1), ask("3", "b", gpus=1), ask("4", "c", gpus=2))
    waiting = {name: ask(name, name, minutes) for name, minutes in (("a", 0), ("b", 3), ("c", 1), ("d", 9), ("e", 5))}

    def first(*names: str) -> str:
        found = next_to_start(held, [waiting[name] for name in names], Projects())
        assert found is not None
        return found.project

    assert first("a", "b", "c", "d", "e") == "e"
    assert first("a", "b", "c", "d") == "d"
    assert first("a", "b", "c") == "c", "as many GPUs as b in fewer tasks"
    assert first("a", "b") == "b"
    assert next_to_start(held, [], Projects()) is None


def test_whose_own_quota_is_used_up_holds_up_no_other_project() -> None:
    held = granting(ask("1", "a"))
    found = next_to_start(held, [ask("2", "a", -9), ask("3", "b", 1)], limited(running_tasks=1))
    assert found is not None
    assert found.task_id == "3"


def test_whose_turn_it_is_is_not_passed_where_all_together_have_too_little_left() -> None:
    platform = Limits(gpu_hours_a_day=10)
    held = granting(ask("1", "b", gpus=1, gpu_seconds=6 * HOUR))
    large, small = ask("2", "a", gpus=8, gpu_seconds=8 * HOUR), ask("3", "b", gpus=1, gpu_seconds=HOUR)
    assert next_to_start(held, [large, small], Projects(platform=platform)) is None
    assert next_to_start(held, [small], Projects(platform=platform)) == small


@pytest.mark.parametrize(
    ("limits", "needs", "quota", "for_good", "words"),
    [
        ({"running_tasks": 1}, {}, "running_tasks", False, "1 of 1 tasks of project a run"),
        ({"running_tasks": 2}, {}, None, False, ""),
        ({"gpu_hours_a_day": 5}, {"gpu_seconds": 3 * HOUR}, None, False, ""),
        (
            {"gpu_hours_a_day": 5}, {"gpu_seconds": 3 * HOUR + 1}, "gpu_hours_a_day", False,
            "it may take 3 GPU-hours, and 2 of the 5 a day of project a are used or promised",
        ),
        ({"gpu_hours_a_day": 5}, {"gpu_seconds": 5 * HOUR + 1}, "gpu_hours_a_day", True, "of project a"),
        ({"spend_a_day": Decimal(10)}, {"cost": Decimal("3.5")}, None, False, ""),
        (
            {"spend_a_day": Decimal(10)}, {"cost": Decimal("3.51")}, "spend_a_day", False,
            "it costs 3.51, and 6.5 of the 10 a day of project a are spent or promised",
        ),
        ({"spend_a_day": Decimal(10)}, {"cost": Decimal("10.01")}, "spend_a_day", True, "it costs 10.01"),
    ],
)  # fmt: skip
def test_which_quota_is_waited_for(
    limits: dict[str, Any], needs: dict[str, Any], quota: str | None, words: str, *, for_good: bool
) -> None:
    held = granting(ask("1", gpus=2, gpu_seconds=2 * HOUR, cost=Decimal("6.5")))
    for projects, whose in [(limited(**limits), "project a"), (limited(Limits(**limits)), "all projects together")]:
        short = shortage(held, ask("2", **needs), projects)
        assert (short.quota if short else None) == quota
        if short:
            assert words.replace("project a", whose) in short.message
            assert short.for_good is for_good
        assert shortage(held, ask("2", "b", **needs), limited(**limits)) is None or for_good


def test_a_project_s_own_limits_hold_and_else_those_of_every_project() -> None:
    own = ProjectRules(limits=Limits(running_tasks=9))
    projects = Projects(ProjectRules(limits=Limits(running_tasks=1, spend_a_day=Decimal(2))), {"a": own})
    assert projects.limits("a") == Limits(running_tasks=9, spend_a_day=Decimal(2))
    assert projects.limits("b") == Limits(running_tasks=1, spend_a_day=Decimal(2))
    assert projects.limited
    assert not Projects(ProjectRules(read=("",))).limited


# --- what is charged and given back ----------------------------------------------------------------------------

NEEDS: dict[str, Any] = {"gpus": 2, "gpu_seconds": 4 * HOUR, "cost": Decimal(8)}
SETTLED = Settlement(basis="trained", amount="3", currency="CNY", party="user")


def over(held: Ledger, seen: TaskState, hours: float) -> tuple[float, float]:
    after = ledger.observed(held, {"t": seen}, NOON + timedelta(hours=hours))
    assert after.grants == {}
    used = after.used("a")
    return used.gpu_seconds / HOUR, float(used.spend)


def began(held: Ledger, hours: float) -> Ledger:
    return ledger.observed(held, {"t": state()}, NOON + timedelta(hours=hours))


@pytest.mark.parametrize(
    ("seen", "used"),
    [
        (state(phase=Phase.COMPLETING), (1, 8)),
        (state(phase=Phase.PAUSED), (1, 8)),
        (state(attempt=2, phase=Phase.QUEUED, seq=-1), (1, 8)),
        (state(phase=Phase.TERMINATED, settlement=SETTLED), (1, 3)),
        (state(phase=Phase.FAILED), (1, 8)),
    ],
    ids=["success", "paused", "retried", "stopped", "failed, fee unknown"],
)
def test_an_attempt_that_is_over_gives_back_what_it_did_not_take(seen: TaskState, used: tuple[float, int]) -> None:
    assert over(began(granting(ask(**NEEDS)), 0.25), seen, 0.75) == used


def test_an_attempt_that_never_began_took_nothing_and_one_that_nobody_saw_begin_took_all_since_its_grant() -> None:
    held = granting(ask(**NEEDS))
    assert over(held, state(phase=Phase.TERMINATED, seq=-1), 1)[0] == 0
    assert over(held, state(phase=Phase.TERMINATED, seq=0), 1)[0] == 2
    assert over(held, state(phase=Phase.COMPLETING), 9)[0] == 4, "never more than was promised"
    assert over(held, state(phase=Phase.COMPLETING), -9)[0] == 0, "a clock that is behind"


@pytest.mark.parametrize("seen", [state(phase=Phase.QUEUED, seq=-1), state(phase=Phase.TERMINATING)])
def test_what_may_still_have_a_job_keeps_its_place(seen: TaskState) -> None:
    held = granting(ask(**NEEDS))
    assert ledger.observed(held, {"t": seen}, NOON).grants.keys() == {"t"}
    assert ledger.observed(held, {}, NOON) == held, "nor is one given up whose state was not read"


def test_the_next_day_begins_at_nothing_and_what_yesterday_s_attempts_give_back_is_yesterday_s() -> None:
    tomorrow = NOON + timedelta(days=1)
    held = ledger.on_day_of(granting(ask(**NEEDS)), tomorrow)
    assert (held.used(), len(held.running("a"))) == (Charged(), 1)
    assert over(held, state(phase=Phase.TERMINATED, settlement=SETTLED), 24) == (0, 0)
    assert ledger.on_day_of(held, NOON) == held, "a clock that is behind"


@settings(deadline=None, max_examples=200)
@given(st.data())
def test_in_any_order_of_asks_and_ends_no_quota_is_ever_exceeded_and_at_the_end_nobody_waits_without_reason(
    data: st.DataObject,
) -> None:
    draw: Callable[[Any], Any] = data.draw
    per_project = Limits(running_tasks=2, gpu_hours_a_day=6, spend_a_day=Decimal(9))
    platform = Limits(running_tasks=3, gpu_hours_a_day=10, spend_a_day=Decimal(20))
    projects = Projects(ProjectRules(limits=per_project), platform=platform)
    held, waiting, now = granting(), [], NOON
    for number in range(draw(st.integers(1, 25))):
        needs: dict[str, Any] = {"gpus": draw(st.integers(0, 2)), "cost": Decimal(draw(st.integers(0, 4)))}
        needs["gpu_seconds"] = needs["gpus"] * HOUR
        waiting.append(ask(f"t-{number:02}", draw(st.sampled_from("abc")), number, **needs))
        while chosen := next_to_start(held, _firsts(waiting), projects):
            waiting.remove(chosen)
            held = ledger.with_grant(held, chosen, now)
            for limits, project in [(platform, None), *((per_project, each) for each in "abc")]:
                assert len(held.running(project)) <= (limits.running_tasks or 0)
                assert held.used(project).gpu_seconds <= (limits.gpu_hours_a_day or 0) * HOUR
                assert held.used(project).spend <= (limits.spend_a_day or 0)
        assert not _firsts(waiting) or any(shortage(held, each, projects) for each in _firsts(waiting))
        now += timedelta(minutes=draw(st.integers(0, 90)))
        if held.grants and draw(st.booleans()):
            ended = draw(st.sampled_from(sorted(held.grants)))
            held = ledger.observed(held, {ended: state(ended, phase=Phase.COMPLETING)}, now)
            assert held.used().gpu_seconds >= 0


def _firsts(waiting: list[Ask]) -> list[Ask]:
    first: dict[str, Ask] = {}
    for each in waiting:
        first.setdefault(each.project, each)
    return list(first.values())


# --- the file --------------------------------------------------------------------------------------------------


def _load(tmp_path: Path, text: str, rules: str = "[[rules]]\nexecutor = 'slurm'\ngpus = 1") -> Projects:
    file, executors = tmp_path / "projects.toml", tmp_path / "executors.toml"
    file.write_text(text)
    executors.write_text(rules)
    chosen = Settings(projects_file=file, executors_file=executors, slurm_jobs_dir=tmp_path)
    return load_projects(chosen, S3Store(None, "bucket"))


def test_the_file_says_quotas_of_every_project_of_one_and_of_all_together(tmp_path: Path) -> None:
    text = """
    every_project = { running_tasks = 4 }
    platform = { running_tasks = 40 }
    [projects.lab]
    running_tasks = 8
    spend_a_day = "100.50"
    """
    projects = _load(tmp_path, text)
    assert projects.limits("lab") == Limits(running_tasks=8, spend_a_day=Decimal("100.50"))
    assert projects.limits("other") == Limits(running_tasks=4)
    assert projects.platform == Limits(running_tasks=40)
    assert not projects.restricts_reading


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("every_project = { running_tasks = -1 }", "running_tasks"),
        ("every_project = { spend_a_day = 5.0 }", "spend_a_day"),
        ("platform = { read = [] }", "read"),
        ("projects.a = { gpu_hours_a_day = 5 }", "rules[0] in the file of WORKER_EXECUTORS_FILE has none"),
    ],
)
def test_a_file_whose_quotas_cannot_hold_is_refused(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(SettingsError) as caught:
        _load(tmp_path, text)
    assert words in str(caught.value)


def test_gpu_hours_can_be_limited_where_every_rule_with_gpus_has_a_time_limit(tmp_path: Path) -> None:
    rules = "[[rules]]\nexecutor = 'slurm'\ngpus = 1\ntime_limit_seconds = 60"
    assert _load(tmp_path, "projects.a = { gpu_hours_a_day = 5 }", rules).limits("a").gpu_hours_a_day == 5
