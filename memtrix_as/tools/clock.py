"""The time."""

from datetime import datetime

from memtrix_as.tool import ToolContext, tool


@tool(repeatable=True, harmless=True)
async def get_current_time(ctx: ToolContext) -> str:
    """Tell the current date, weekday and time in the user's time zone."""
    return datetime.now(ctx.timezone).strftime("%A, %Y-%m-%d %H:%M:%S %Z (UTC%z)")
