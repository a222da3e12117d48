"""Clocks beside ours. Signed requests, prices' validity and the five seconds before a fee are judged by them."""

import time
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from handlers.errors import Unavailable
from worker.doctor.finding import Finding, note, ok, unchecked, wrong
from worker.kafka.broker import Brokers, BrokerUnavailable
from worker.kafka.clock import UnknownTime, controller_time
from worker.settings import Settings, SettingsError
from worker.storage import is_directory

#: Seconds two clocks may be apart. What an answer took, and that its time has whole seconds, is allowed for on top.
TOLERANCE = 2.0
_REMEDY = "set both by NTP: chronyc tracking, or timedatectl timesync-status, on either machine"


async def check_broker_clock(settings: Settings) -> list[Finding]:
    """Return how far Kafka's clock is from ours, where it tells the time."""
    about = "broker's clock"
    asked = time.time()
    try:
        theirs = await controller_time(Brokers.of(settings))
    except (SettingsError, BrokerUnavailable):
        return [unchecked(about, "no broker answers, see broker")]
    except UnknownTime as error:
        return [note(about, f"not compared: {error}", "none is needed: nothing here is judged by it")]
    return [_compared(about, theirs, asked)]


async def check_bucket_clock(settings: Settings) -> list[Finding]:
    """Return how far the bucket's clock is from ours, by the Date of its answer."""
    about = "bucket's clock"
    if is_directory(settings.storage_url):
        return [ok(about, "is ours: the bucket is a directory")]
    from worker.storage.s3 import open_s3  # noqa: PLC0415 - a second of imports, as in open_store

    try:
        async with open_s3(settings.storage_url, endpoint_url=settings.s3_endpoint_url) as store:
            asked = time.time()
            said = await store.date()
    except (SettingsError, Unavailable):
        return [unchecked(about, "the bucket cannot be asked, see bucket")]
    if said is None:
        return [unchecked(about, "its answer has no Date")]
    return [_compared(about, parsedate_to_datetime(said), asked, resolution=1.0)]


def _compared(about: str, theirs: datetime, asked: float, *, resolution: float = 0.0) -> Finding:
    """Compare a time with ours, which was between when it was asked for and now."""
    then, now = theirs.timestamp(), time.time()
    # Their time was read at some moment between asked and now, and cut to its resolution.
    behind, ahead = asked - (then + resolution), then - now
    apart = max(behind, ahead, 0.0)
    if apart <= TOLERANCE:
        return ok(about, f"{datetime.fromtimestamp(then, UTC):%H:%M:%S} UTC, as ours")
    where = "behind" if behind > ahead else "ahead of"
    return wrong(about, f"is {apart:,.0f} s {where} ours", _REMEDY)
