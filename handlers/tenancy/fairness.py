"""Who may start now, of those who wait. Pure.

In a project first come, first served: who needs much is not passed by those who need little, or would never start.
Between projects: whose tasks hold the fewest GPUs, then whose are the fewest, then who has waited longest.
"""

from collections.abc import Iterable
from typing import NamedTuple

from handlers.tenancy.ledger import Ask, Ledger
from handlers.tenancy.limits import SECONDS_AN_HOUR, Limits, Quota
from handlers.tenancy.projects import Projects


class Shortage(NamedTuple):
    """The quota that an ask waits for. ``for_good``: it is more than the whole quota, so waiting does not help."""

    quota: Quota
    message: str
    for_good: bool = False


def next_to_start(ledger: Ledger, firsts: Iterable[Ask], projects: Projects) -> Ask | None:
    """Return which of the first ones of their projects' queues may start now; None: all wait."""
    able = [ask for ask in firsts if shortage_of_project(ledger, ask, projects) is None]
    if not able:
        return None
    first = min(able, key=lambda ask: (*_holds(ledger, ask.project), ask.submitted_at, ask.task_id))
    # Nobody passes whose turn it is: it would wait for ever where it needs more than others.
    return first if shortage_of_platform(ledger, first, projects) is None else None


def shortage(ledger: Ledger, ask: Ask, projects: Projects) -> Shortage | None:
    """Return which quota an ask waits for, its project's first; None: none."""
    return shortage_of_project(ledger, ask, projects) or shortage_of_platform(ledger, ask, projects)


def shortage_of_project(ledger: Ledger, ask: Ask, projects: Projects) -> Shortage | None:
    """Return which quota of its project an ask waits for."""
    return _shortage(ledger, ask, projects.limits(ask.project), ask.project)


def shortage_of_platform(ledger: Ledger, ask: Ask, projects: Projects) -> Shortage | None:
    """Return which quota of all projects together an ask waits for."""
    return _shortage(ledger, ask, projects.platform, None)


def _shortage(ledger: Ledger, ask: Ask, limits: Limits, project: str | None) -> Shortage | None:
    whose = f"project {project}" if project else "all projects together"
    running, used = len(ledger.running(project)), ledger.used(project)
    if limits.running_tasks is not None and running >= limits.running_tasks:
        return Shortage("running_tasks", f"{running} of {limits.running_tasks} tasks of {whose} run")
    if limits.gpu_hours_a_day is not None:
        limit = limits.gpu_hours_a_day * SECONDS_AN_HOUR
        if used.gpu_seconds + ask.gpu_seconds > limit:
            message = (
                f"it may take {_hours(ask.gpu_seconds)} GPU-hours, and {_hours(used.gpu_seconds)} of the "
                f"{_hours(limit)} a day of {whose} are used or promised"
            )
            return Shortage("gpu_hours_a_day", message, for_good=ask.gpu_seconds > limit)
    if limits.spend_a_day is not None and used.spend + ask.cost > limits.spend_a_day:
        message = (
            f"it costs {ask.cost:f}, and {used.spend:f} of the {limits.spend_a_day:f} a day of {whose} "
            "are spent or promised"
        )
        return Shortage("spend_a_day", message, for_good=ask.cost > limits.spend_a_day)
    return None


def _holds(ledger: Ledger, project: str) -> tuple[int, int]:
    running = ledger.running(project)
    return sum(ask.gpus for ask in running), len(running)


def _hours(seconds: float) -> str:
    return f"{seconds / SECONDS_AN_HOUR:.2f}".rstrip("0").rstrip(".")
