"""What the models took: tokens and money, by agent and model."""

from datetime import UTC, datetime, timedelta, tzinfo

from memtrix_as.admin.command import Call, command
from memtrix_as.admin.tables import Cell, code, table, words
from memtrix_as.db import spent
from memtrix_as.db.spent import Spent

SHOWN = 20


@command(
    "usage [day|week|month]",
    "shows tokens and cost by agent and model: of today, of seven days, or of this month",
    example="usage week",
)
async def usage(call: Call, period: str) -> str:
    wanted = period or "month"
    begin = since(wanted, datetime.now(UTC), call.means.config.timezone)
    rows = await spent.since(call.db, begin)
    if not rows:
        return f"No model was asked since {begin:%Y-%m-%d}."
    shown = [_row(row) for row in rows[:SHOWN]]
    if len(rows) > 1:
        shown.append(_row(_sum(rows), total=True))
    more = f"\n\n{len(rows) - SHOWN} more are in the sum alone." if len(rows) > SHOWN else ""
    head = ("agent", "model", "tokens in / out", "cost")
    return f"Since {begin:%Y-%m-%d}:\n\n{table(head, shown)}{more}"


def since(period: str, now: datetime, zone: tzinfo) -> datetime:
    """When a period began, in the user's time zone."""
    today = now.astimezone(zone).replace(hour=0, minute=0, second=0, microsecond=0)
    if period == "week":
        return today - timedelta(days=6)
    return today.replace(day=1) if period == "month" else today


def _sum(rows: list[Spent]) -> Spent:
    costs = [row.cost for row in rows if row.cost is not None]
    return Spent(
        "all",
        "",
        sum(row.calls for row in rows),
        sum(row.prompt_tokens for row in rows),
        sum(row.completion_tokens for row in rows),
        sum(costs) if costs else None,
    )


def _row(row: Spent, *, total: bool = False) -> tuple[object, ...]:
    return (
        Cell("**all**") if total else words(row.agent, 30),
        Cell(f"{row.calls:,} calls") if total else code(row.model, 40),
        Cell(f"{row.prompt_tokens:,} / {row.completion_tokens:,}"),
        Cell("-" if row.cost is None else f"${row.cost:.4f}"),
    )
