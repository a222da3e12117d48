"""Times as people type them on a command line."""

from datetime import UTC, datetime

import typer


def time_option(said: str | None, option: str) -> datetime | None:
    """Return an RFC 3339 time, UTC where no zone is said. Raises typer.BadParameter that names the option."""
    if said is None:
        return None
    try:
        found = datetime.fromisoformat(said)
    except ValueError:
        raise typer.BadParameter(
            f"{said!r} is no RFC 3339 time, such as 2026-01-01 or 2026-01-01T08:00:00Z", param_hint=option
        ) from None
    return found if found.tzinfo else found.replace(tzinfo=UTC)
