"""/approvals: the open questions of a room, and what its agent need not ask for there."""

from memtrix_as.agent import questions
from memtrix_as.agent.means import Means
from memtrix_as.config import role
from memtrix_as.db import approvals, permissions
from memtrix_as.db.pool import Connection
from memtrix_as.messages import Incoming

USAGE = "Type `/approvals`, or `/approvals revoke` and the number that it shows."
WARY = ", also after reading text from outside"
NOTHING = "No question is open here, and I ask for everything that needs a yes."


async def command(means: Means, connection: Connection, incoming: Incoming, argument: str) -> str:
    """List them, or take back a permission."""
    if not argument:
        return await _list(means, connection, incoming)
    verb, _, number = argument.partition(" ")
    number = number.strip().lstrip("#")
    if verb != "revoke" or not (number.isascii() and number.isdigit()):
        return USAGE
    return await _revoke(means, connection, incoming, number)


async def _list(means: Means, connection: Connection, incoming: Incoming) -> str:
    place, zone = incoming.place, means.config.timezone
    lines = []
    if waiting := await approvals.open_in(connection, place.agent, place.room_id):
        lines.append("**Open questions**\n")
        lines += [
            f"- {questions.code(a.tool)}: {questions.code(a.asked)} or an administrator can "
            f"answer until {questions.clock(a.expires_at, zone)}"
            for a in waiting
        ]
    if given := await permissions.all_in(connection, place.agent, place.room_id):
        lines += ["", "**In this room I do not ask for**\n"]
        lines += [
            f"- #{p.id} {questions.code(p.tool)}: since "
            f"{p.given_at.astimezone(zone):%Y-%m-%d %H:%M}, by {questions.code(p.given_by)}"
            f"{WARY if p.wary else ''}; "
            f"`/approvals revoke {p.id}` takes it back"
            for p in given
        ]
    return "\n".join(lines).strip() or NOTHING


async def _revoke(means: Means, connection: Connection, incoming: Incoming, number: str) -> str:
    place = incoming.place
    given = await permissions.all_in(connection, place.agent, place.room_id)
    found = next((p for p in given if str(p.id) == number), None)
    if found is None:
        return f"There is no permission {number} in this room. `/approvals` lists them."
    admin = role(means.config.permissions, incoming.sender) == "admin"
    if incoming.sender != found.given_by and not admin:
        return f"Only {questions.code(found.given_by)} or an administrator can take that back."
    await permissions.revoke(connection, found.id)
    return f"From now on I ask here again before I run {questions.code(found.tool)}."
