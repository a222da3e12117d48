"""Times as people type them on a command line."""

from datetime import UTC, datetime

import typer


def between(since: str | None, until: str | None) -> tuple[datetime | None, datetime | None]:
    """Return the times of ``--since`` and ``--until``. Raises typer.BadParameter where nothing is between them, too."""
    first, end = time_option(since, "--since"), time_option(until, "--until")
    if first and end and end <= first:
        raise typer.BadParameter(f"{until!r} is not after --since {since!r}", param_hint="--until")
    return first, end


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
