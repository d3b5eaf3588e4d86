"""What the models took: tokens and money, by agent and model."""

from memtrix_as.admin.command import Call, command
from memtrix_as.agent import spending
from memtrix_as.agent.spending import Period

PERIODS: dict[str, Period] = {"": "day", "day": "day", "week": "week", "month": "month"}


@command(
    "usage [day|week|month]",
    "shows tokens and cost by agent and model, and the budgets: of today, 7 days or 30 days",
    example="usage week",
)
async def usage(call: Call, period: str) -> str:
    return await spending.report(call.db, call.means.config, PERIODS[period])
