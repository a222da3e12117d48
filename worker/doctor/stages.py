"""The stages: whether somebody runs each, and whether anything waits for it."""

from collections.abc import Sequence

from aiokafka.errors import GroupAuthorizationFailedError, KafkaError

from worker.doctor.finding import Finding, note, ok, unchecked, wrong
from worker.doctor.groups import Standing, standings
from worker.kafka.broker import Brokers, BrokerUnavailable
from worker.settings import Settings, SettingsError

_ABOUT = "stages"
_START = "worker run"
#: A busy stage always has some in work, and one look cannot tell whether it falls behind.
_IF_IT_GROWS = (
    "if it grows: curl http://WORKER:WORKER_HEALTH_PORT/ready names what is paused or stopped; "
    "else more workers, see docs/OPERATIONS.md"
)


async def check_stages(settings: Settings) -> list[Finding]:
    """Return the stages that nobody runs, and those that records wait for. Needs no worker, and joins no group."""
    try:
        found = await standings(Brokers.of(settings), settings.group_of)
    except (SettingsError, BrokerUnavailable):
        return [unchecked(_ABOUT, "no broker answers, see broker")]
    except GroupAuthorizationFailedError:
        remedy = "worker topics acls, which gives operators Describe on them"
        return [unchecked(_ABOUT, f"this user may not see the groups {settings.group_prefix}.*", remedy)]
    except KafkaError as error:
        return [unchecked(_ABOUT, f"the broker does not tell how the groups stand: {error!r}", "try again")]
    return judged(found)


def judged(found: Sequence[Standing]) -> list[Finding]:
    """Return what is to be said of the stages: all without a worker in one finding, those that lag one by one. Pure."""
    alone = [stage for stage in found if not stage.members]
    behind = [stage for stage in found if stage.members and stage.behind]
    findings = [_nobody(alone, everywhere=len(alone) == len(found))] if alone else []
    findings += [note(_ABOUT, f"{each.stage}: {_said(each)}", _IF_IT_GROWS) for each in behind]
    return findings or [ok(_ABOUT, f"all {len(found)} have workers, and no record waits")]


def _nobody(alone: Sequence[Standing], *, everywhere: bool) -> Finding:
    waiting = ", ".join(f"{each.stage} {each.behind:,}" for each in alone if each.behind)
    names = ", ".join(each.stage for each in alone)
    text = ("no worker runs" if everywhere else f"no worker runs {names}") + (
        f"; records wait: {waiting}" if waiting else "; no record waits"
    )
    # Where none ever ran and nothing waits, somebody has only not begun yet.
    if any(each.behind or each.known for each in alone):
        return wrong(_ABOUT, text, _START)
    return note(_ABOUT, text, _START)


def _said(stage: Standing) -> str:
    return (
        f"{stage.members} {'member' if stage.members == 1 else 'members'} in its group, {stage.behind:,} records behind"
    )
