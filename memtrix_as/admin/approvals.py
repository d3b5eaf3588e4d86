"""Questions of agents that wait for a yes, in whatever room: listed and answered from here."""

from memtrix_as.admin.command import Call, command, quoted
from memtrix_as.admin.tables import Cell, code, page_of, paged, words
from memtrix_as.admin.words import number
from memtrix_as.agent import approvals as answering
from memtrix_as.agent import questions
from memtrix_as.db import approvals as rows
from memtrix_as.db import overview
from memtrix_as.db.approvals import Approval
from memtrix_as.errors import AdminError


@command("approvals [PAGE]", "lists what agents wait for a yes to", example="approvals")
async def approvals(call: Call, page: str) -> str:
    wanted = page_of(page)
    if wanted is None:
        raise AdminError(f"{quoted(page)} is no page. Type `approvals`, or `approve ID`.")
    zone = call.means.config.timezone
    shown = []
    for p in await overview.open_approvals(call.db):
        room = f" in room #{p.room}" if p.room else ""
        shown.append(
            (
                Cell(f"#{p.id}"),
                Cell(f"{words(p.agent, 30)}: {code(p.tool, 40)}"),
                Cell(f"{code(p.asked, 40)}{room}"),
                questions.clock(p.expires_at, zone),
            )
        )
    if not shown:
        return "No agent waits for a yes."
    head = ("id", "wants to run", "because of", "until")
    return paged("approvals", head, shown, wanted, "questions")


@command(
    "approval show ID",
    "shows exactly what an agent asks for",
    example="approval show 7",
    private=True,
)
async def show(call: Call, which: str) -> str:
    known = await _known(call, which)
    until = questions.clock(known.expires_at, call.means.config.timezone)
    return (
        f"{known.question}\n\n`approve {known.id}` or `deny {known.id}` answers it, until {until}."
    )


@command(
    "approve ID",
    "says yes to a question of an agent, which shows in its room",
    example="approve 7",
)
async def approve(call: Call, which: str) -> str:
    return await _decide(call, which, "yes")


@command("deny ID", "says no to a question of an agent, which shows in its room", example="deny 7")
async def deny(call: Call, which: str) -> str:
    return await _decide(call, which, "no")


async def _decide(call: Call, which: str, word: str) -> str:
    known = await _known(call, which)
    await answering.decide(call.db, known, (call.sender, word), call.item.lane)
    done = "goes on with" if word == "yes" else "is told no to"
    return f"Question #{known.id} is answered: the agent {done} {code(known.tool)}."


async def _known(call: Call, which: str) -> Approval:
    """An open question, locked until it is answered."""
    count = number(which)
    known = await rows.hold(call.db, count) if count else None
    if known is None:
        raise AdminError(f"There is no question {quoted(which)}. `approvals` lists them.")
    if known.state != "open" or known.overdue:
        state = "expired" if known.state == "open" else known.state
        by = f" by {code(known.answered_by)}" if known.answered_by else ""
        raise AdminError(f"Question #{known.id} has ended already: it is {state}{by}.")
    return known
