"""What projects use of their quotas: one object for all of them, so that one compare-and-set decides. Pure.

An attempt is granted before it is submitted, and what it may take at most is charged to the day then: its GPUs until
its time limit, and its task's quote where none of its attempts was granted before. Once it is over it holds no place
any more, and what it did not take is given back, unless the day is over too.
"""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from msgspec import Struct
from msgspec.structs import replace

from contracts.task import Phase
from handlers.task_state import WITH_JOB, TaskState

_BEGUN = frozenset({Phase.DEPLOYING, Phase.RUNNING})
_HOLDING = WITH_JOB | {Phase.TERMINATING}


class Ask(Struct, frozen=True, kw_only=True):
    """What an attempt needs. ``gpu_seconds`` is the most it may take; ``cost`` is due with a task's first grant."""

    task_id: str
    attempt: int
    project: str
    submitted_at: datetime
    gpus: int = 0
    gpu_seconds: int = 0
    cost: Decimal = Decimal(0)


class Grant(Struct, frozen=True, kw_only=True):
    """An ask that was granted. ``began_at`` is when its job was first seen to have begun."""

    ask: Ask
    day: str
    granted_at: datetime
    began_at: datetime | None = None


class Charged(Struct, frozen=True, kw_only=True):
    """What a project used today, or was promised."""

    gpu_seconds: float = 0
    spend: Decimal = Decimal(0)


class Ledger(Struct, frozen=True, kw_only=True):
    """The grants that hold, by task, and what was charged on the newest day there was, by project."""

    day: str = ""
    charged: dict[str, Charged] = {}
    grants: dict[str, Grant] = {}

    def granted(self, task_id: str, attempt: int) -> bool:
        """Return whether an attempt may be submitted."""
        held = self.grants.get(task_id)
        return held is not None and held.ask.attempt == attempt

    def running(self, project: str | None = None) -> list[Ask]:
        """Return what is granted to a project, or to all of them."""
        return [held.ask for held in self.grants.values() if project in (None, held.ask.project)]

    def used(self, project: str | None = None) -> Charged:
        """Return what was charged to a project today, or to all of them."""
        some = [each for name, each in self.charged.items() if project in (None, name)]
        spend = sum((each.spend for each in some), Decimal(0))
        return Charged(gpu_seconds=sum(each.gpu_seconds for each in some), spend=spend)


def on_day_of(ledger: Ledger, now: datetime) -> Ledger:
    """Return the ledger as it is today. A clock that is behind another worker's does not bring yesterday back."""
    today = now.astimezone(UTC).date().isoformat()
    return ledger if today <= ledger.day else replace(ledger, day=today, charged={})


def with_grant(ledger: Ledger, ask: Ask, now: datetime) -> Ledger:
    """Return a ledger of today with an ask granted, instead of what its task had."""
    grant = Grant(ask=ask, day=ledger.day, granted_at=now)
    return _charge(replace(ledger, grants=ledger.grants | {ask.task_id: grant}), ask.project, ask.gpu_seconds, ask.cost)


def observed(ledger: Ledger, states: Mapping[str, TaskState], now: datetime) -> Ledger:
    """Return the ledger after a look at tasks: those whose job has begun, and without those whose attempt is over."""
    for task_id, held in tuple(ledger.grants.items()):
        state = states.get(task_id)
        if state is None or state.attempt < held.ask.attempt:
            continue
        if state.attempt > held.ask.attempt or state.phase not in _HOLDING:
            ledger = _without(ledger, held, state, now)
        elif held.began_at is None and state.phase in _BEGUN:
            ledger = replace(ledger, grants=ledger.grants | {task_id: replace(held, began_at=now)})
    return ledger


def _without(ledger: Ledger, held: Grant, state: TaskState, now: datetime) -> Ledger:
    ledger = replace(ledger, grants={name: each for name, each in ledger.grants.items() if name != held.ask.task_id})
    if held.day != ledger.day:
        return ledger
    return _charge(ledger, held.ask.project, _taken(held, state, now) - held.ask.gpu_seconds, -_not_due(held, state))


def _taken(held: Grant, state: TaskState, now: datetime) -> float:
    """Return the GPU-seconds that an attempt took: counted from its grant where nobody saw its job begin."""
    if held.began_at is None and state.attempt == held.ask.attempt and state.seq < 0:
        return 0  # it never said a word
    since = held.began_at or held.granted_at
    return min(held.ask.gpu_seconds, held.ask.gpus * max(timedelta(0), now - since).total_seconds())


def _not_due(held: Grant, state: TaskState) -> Decimal:
    """Return what need not be paid of a cost that was charged: nothing before the task has ended."""
    if state.settlement is None or state.settlement.amount is None:
        return Decimal(0)
    return max(Decimal(0), held.ask.cost - Decimal(state.settlement.amount))


def _charge(ledger: Ledger, project: str, gpu_seconds: float, spend: Decimal) -> Ledger:
    before = ledger.charged.get(project, Charged())
    after = Charged(gpu_seconds=before.gpu_seconds + gpu_seconds, spend=before.spend + spend)
    return replace(ledger, charged=ledger.charged | {project: after})
