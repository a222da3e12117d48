"""Where spans go: whether those that an operator wants can be sent."""

import os

from worker.doctor.finding import Finding, ok, wrong
from worker.settings import Settings, SettingsError
from worker.traces import switch


async def check_spans(_: Settings) -> list[Finding]:
    """Return whether spans can be sent; nothing where nobody wants any. Does not ask whether somebody takes them."""
    if not switch.wanted(os.environ):
        return []
    try:
        switch.check(os.environ)
    except SettingsError as error:
        return [wrong("spans", str(error), "mend what it says, or unset OTEL_EXPORTER_OTLP_ENDPOINT to go without")]
    return [ok("spans", "they are sent by OTLP; where nobody takes them, that is a line in the log")]
