"""All checks, side by side, and what comes of them."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence

from handlers.errors import Transient
from worker.could_not import CouldNot
from worker.doctor.broker import check_broker, check_topics
from worker.doctor.bucket import check_bucket
from worker.doctor.clocks import check_broker_clock, check_bucket_clock
from worker.doctor.engines import check_engines
from worker.doctor.finding import Finding, unchecked
from worker.doctor.machine import check_disk, check_variables, check_work_folder
from worker.doctor.models import check_base_models, check_catalogue
from worker.doctor.projects import check_projects
from worker.doctor.spans import check_spans
from worker.settings import Settings

Check = tuple[str, Callable[[Settings], Awaitable[list[Finding]]]]

#: Seconds a check may take. Clients give up before, most of them after ten.
CHECK_SECONDS = 45.0

#: What keeps a worker from starting: ``worker run --check``.
STARTING: tuple[Check, ...] = (
    ("settings", check_variables),
    ("broker", check_broker),
    ("bucket", check_bucket),
    ("catalogue", check_catalogue),
    ("executors", check_engines),
    ("projects", check_projects),
    ("work folder", check_work_folder),
    ("spans", check_spans),
)
#: All there is: ``worker doctor``.
EVERYTHING: tuple[Check, ...] = (
    *STARTING,
    ("topics", check_topics),
    ("base models", check_base_models),
    ("broker's clock", check_broker_clock),
    ("bucket's clock", check_bucket_clock),
    ("disk", check_disk),
)


async def examine(settings: Settings, checks: Iterable[Check] = EVERYTHING) -> list[Finding]:
    """Make the checks, at the same time; return what each found, in their order. Takes CHECK_SECONDS at most.

    Changes nothing: the one object that is put into the bucket, to see whether conditional puts hold, is removed again.
    Never raises: a check that fails says so, and hides no other.
    """
    found = await asyncio.gather(*(_made(about, check(settings)) for about, check in checks))
    return [finding for some in found for finding in some]


def exit_code(findings: Sequence[Finding]) -> int:
    """Return 0 where nothing is wrong, 1 where something is, 2 where nothing is and not all could be checked."""
    marks = {finding.mark for finding in findings}
    if "wrong" in marks:
        return 1
    return 2 if "unchecked" in marks else 0


async def _made(about: str, check: Awaitable[list[Finding]]) -> list[Finding]:
    try:
        async with asyncio.timeout(CHECK_SECONDS):
            return await check
    except TimeoutError:
        return [unchecked(about, f"no answer within {CHECK_SECONDS:.0f} s")]
    except (CouldNot, Transient) as error:
        return [unchecked(about, str(error))]
    except Exception as error:  # noqa: BLE001 - one check's bug must not hide what the others found
        return [unchecked(about, f"{type(error).__name__}: {error}", "this is a bug in the worker: report it")]
