"""Numbers and times as people read them: the filters of the templates."""

from __future__ import annotations

from datetime import UTC, datetime

_STEPS = (("B", 1), ("kB", 1e3), ("MB", 1e6), ("GB", 1e9), ("TB", 1e12))


def size(count: float | None) -> str:
    """Bytes, e.g. "1.4 GB"; powers of ten as network rates have them."""
    if count is None:
        return ""
    unit, scale = next((s for s in reversed(_STEPS) if abs(count) >= s[1]), _STEPS[0])
    number = count / scale
    return f"{number:.0f} {unit}" if unit == "B" or number >= 100 else f"{number:.1f} {unit}"


def rate(count: float | None) -> str:
    """Bytes per second."""
    return "" if count is None else f"{size(count)}/s"


def duration(seconds: float | None) -> str:
    """A length of time, e.g. "0.8 s", "1 min 20 s", "3 h 5 min", "12 d"."""
    if seconds is None:
        return ""
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    for unit, lesser, length, part in (("min", "s", 60, 1), ("h", "min", 3600, 60)):
        if whole < length * (60 if unit == "min" else 48):
            rest = whole % length // part
            return f"{whole // length} {unit} {rest} {lesser}" if rest else f"{whole // length} {unit}"
    return f"{whole // 86400} d"


def moment(value: datetime | float | None) -> datetime | None:
    """A time of the API (datetime) or of the services (seconds since the epoch) as a datetime in UTC."""
    if value is None or isinstance(value, datetime):
        return value
    return datetime.fromtimestamp(value, UTC)


def iso(value: datetime | float | None) -> str:
    """For the datetime attribute of <time>."""
    found = moment(value)
    return "" if found is None else found.astimezone(UTC).isoformat(timespec="seconds")


def clock(value: datetime | float | None) -> str:
    """Date and time of the server's time zone; the page's script turns it into the reader's."""
    found = moment(value)
    return "" if found is None else found.astimezone().strftime("%Y-%m-%d %H:%M:%S")
