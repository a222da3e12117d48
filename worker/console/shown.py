"""Numbers, times and sizes as people read them: Jinja's filters. Pure."""

from datetime import UTC, datetime
from urllib.parse import unquote


def number(value: float | None) -> str:
    """Return a number with thousands set apart, or four significant digits."""
    if value is None:
        return "–"
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def bound(value: float) -> str:
    """Return an end of a range: whole numbers with thousands set apart."""
    return f"{int(value):,}" if float(value).is_integer() else f"{value:g}"


def size(value: int) -> str:
    """Return a size in bytes in the largest unit below it."""
    amount, unit = float(value), "B"
    for larger in ("kB", "MB", "GB", "TB"):
        if amount < 1000:
            break
        amount, unit = amount / 1000, larger
    return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.3g} {unit}"


def duration(seconds: float | None) -> str:
    """Return a duration as ``1 h 2 min``, ``3 min 4 s`` or ``5 s``."""
    if seconds is None:
        return "–"
    minutes, rest = divmod(round(seconds), 60)
    if minutes >= 60:
        return f"{minutes // 60} h {minutes % 60} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def moment(value: datetime | None) -> str:
    """Return a time in UTC, to the second."""
    return f"{value.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC" if value else "–"


def file_name(uri: str) -> str:
    """Return the last part of a URI or a key."""
    return unquote(uri.rstrip("/").rpartition("/")[2])
