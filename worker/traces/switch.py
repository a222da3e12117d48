"""Whether spans are wanted, as OpenTelemetry's own variables say, and whether they can be sent."""

import os
import re
from collections.abc import Mapping
from importlib.util import find_spec
from typing import TYPE_CHECKING

from worker.settings import SettingsError

if TYPE_CHECKING:
    from worker.traces.exporting import Exporting

_ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_PROTOCOLS = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
_SPOKEN = "http/protobuf"
#: Without a user or a password, as all URLs of settings.
_URL = r"https?://[^/@]+(/.*)?"


def wanted(environment: Mapping[str, str]) -> bool:
    """Return whether somebody said where spans go, and did not switch them off. Pure."""
    off = environment.get("OTEL_SDK_DISABLED", "").strip().lower() == "true"
    none = environment.get("OTEL_TRACES_EXPORTER", "").strip().lower() == "none"
    return any(environment.get(name) for name in _ENDPOINTS) and not off and not none


def installed() -> bool:
    """Return whether the extra ``traces`` is there. Imports nothing of it but the namespace that it is in."""
    try:
        return all(map(find_spec, ("opentelemetry.sdk.trace", "opentelemetry.exporter.otlp.proto.http")))
    except ModuleNotFoundError:
        return False


def check(environment: Mapping[str, str]) -> None:
    """Check that spans which are wanted can be sent; whether somebody takes them is not asked.

    Raises:
        SettingsError: they cannot be; the text names the variable and the remedy, and quotes no value.
    """
    variable, endpoint = _first(environment, _ENDPOINTS)
    if not installed():
        raise SettingsError(
            f"{variable} is set, but the extra traces is not installed: "
            "pip install 'finetune-worker[traces]', or unset the variable"
        )
    if not re.fullmatch(_URL, endpoint):
        raise SettingsError(
            f"{variable} must be a URL that begins with http:// or https:// and names no user, such as "
            "http://collector:4318; a token belongs into OTEL_EXPORTER_OTLP_HEADERS"
        )
    variable, protocol = _first(environment, _PROTOCOLS)
    if protocol and protocol.strip().lower() != _SPOKEN:
        raise SettingsError(
            f"{variable} must be {_SPOKEN} or unset: no other is spoken here. Collectors listen for it on port 4318"
        )


def way_out(service: str) -> "Exporting | None":
    """Return the way out for this process' spans, by its own variables; None where nobody wants any.

    Raises:
        SettingsError: see :func:`check`.
    """
    if not wanted(os.environ):
        return None
    check(os.environ)
    from worker.traces.exporting import exporting  # noqa: PLC0415 - where no spans are wanted, it need not be there

    try:
        return exporting(service)
    except ValueError as error:
        # A number that is none is only warned of by OpenTelemetry; one that cannot be, such as a queue of -1, is not.
        raise SettingsError(f"OpenTelemetry cannot use its OTEL_ variables: {error}") from error


def _first(environment: Mapping[str, str], names: tuple[str, ...]) -> tuple[str, str]:
    """Return the variable that holds, with its value: of two the first, as OpenTelemetry has it."""
    return next(((name, environment[name]) for name in names if environment.get(name)), (names[-1], ""))
