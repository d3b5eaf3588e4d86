"""Times as people say them, and days as people type them."""

from datetime import UTC, date, datetime, timedelta, tzinfo

from memtrix_as.admin.command import quoted
from memtrix_as.errors import AdminError

STEPS = ((60, "min"), (3600, "h"), (86400, "d"))


def ago(when: datetime | None) -> str:
    """How long ago something was, shortly: 5 min, 3 h, 12 d."""
    if when is None:
        return "never"
    seconds = (datetime.now(UTC) - when).total_seconds()
    if seconds < STEPS[0][0]:
        return "just now"
    size, unit = next((s for s in reversed(STEPS) if seconds >= s[0]), STEPS[0])
    return f"{seconds // size:.0f} {unit} ago"


def lasting(seconds: float) -> str:
    """A duration in its two largest units: 3 d 4 h, 2 h 5 min, 40 s."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    parts = [(days, "d"), (hours, "h"), (minutes, "min"), (rest, "s")]
    shown = [f"{count} {unit}" for count, unit in parts if count][:2]
    return " ".join(shown) or "0 s"


def stamp(when: datetime, zone: tzinfo) -> str:
    return f"{when.astimezone(zone):%Y-%m-%d %H:%M}"


def day_of(text: str, today: date) -> date:
    """A day as people type it: 2026-03-18, today, yesterday."""
    known = {"today": today, "yesterday": today - timedelta(days=1)}
    if text.lower() in known:
        return known[text.lower()]
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise AdminError(
            f"{quoted(text)} is no day. Type one as `{today}`, `today` or `yesterday`."
        ) from None
