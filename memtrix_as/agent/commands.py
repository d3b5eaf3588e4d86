"""The commands that a human types in a room, from /help to /leave."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from memtrix_as import __version__
from memtrix_as.agent import permissions
from memtrix_as.agent.turn import Means
from memtrix_as.db import agents, approvals, corrections, inbox, outbox, sessions
from memtrix_as.db.inbox import Item
from memtrix_as.db.pool import Connection
from memtrix_as.db.queue import Lease
from memtrix_as.messages import Incoming

HELP = """\
| command | does |
|---|---|
| `/help` | shows this |
| `/clear` | starts a fresh conversation in this room |
| `/stop` | stops what I am doing |
| `/status` | shows my model, this conversation's size, and what I am doing |
| `/verbose on` or `off` | shows the tools I use while I work |
| `/reasoning on` or `off` | shows what I think before I answer |
| `/yes`, `/no`, `/always` | answers the question that I have asked |
| `/approvals` | shows open questions and what I do in this room without asking |
| `/leave` | makes me leave this room; invite me to have me back |

`!` works in place of `/`, for clients that keep `/` for themselves. Everything else is for me \
to read: just write."""


@dataclass(frozen=True, slots=True)
class _Call:
    means: Means
    connection: Connection
    item: Item
    incoming: Incoming
    argument: str


async def run(means: Means, item: Item, _: Lease) -> bool:
    """Do what a command says, and say so, in one commit."""
    incoming = means.read(item.payload, item.agent)
    name, argument = incoming.command or ("help", "")
    late = (item.received_at - incoming.sent_at).total_seconds() / 3600
    if late > means.config.limits.catch_up_hours and incoming.sent_at.timestamp() > 0:
        return False  # what was to be stopped or cleared days ago is not what is there now
    async with means.pool.acquire() as connection, connection.transaction():
        await inbox.hold(connection, item.id)
        call = _Call(means, connection, item, incoming, argument.strip().lower())
        if argument and name not in {"verbose", "reasoning", "approvals"}:
            words = f"`/{name}` takes no argument; nothing was done. `/help` shows the commands."
        else:
            words = await COMMANDS[name](call)
        await outbox.say(connection, item.lane, incoming.place, words)
        if name == "leave" and not argument:
            await outbox.leave(connection, item.lane, incoming.place)
        await inbox.finish(connection, item.id)
    return True


async def _help(_: _Call) -> str:
    return HELP


async def _clear(call: _Call) -> str:
    count = await sessions.clear(call.connection, call.item.agent, call.item.room_id)
    if not count:
        return "This conversation is fresh already."
    return f"A fresh conversation begins; the {count} messages before stay in my database."


async def _stop(call: _Call) -> str:
    lane = inbox.turns(call.item.agent, call.item.room_id)
    turn = await corrections.running(call.connection, lane)
    if turn is None:
        return "There is nothing to stop."
    await corrections.stop(call.connection, lane, turn)
    waiting = await inbox.depth(call.connection, lane)
    return "Stopped." + (f" I go on with the next of {waiting} waiting." if waiting else "")


async def _approvals(call: _Call) -> str:
    return await permissions.command(call.means, call.connection, call.incoming, call.argument)


async def _status(call: _Call) -> str:
    agent = await agents.get(call.connection, call.item.agent)
    figures = await sessions.status(call.connection, agent.name, call.item.room_id)
    waiting = await inbox.depth(call.connection, inbox.turns(agent.name, call.item.room_id))
    asked = await approvals.open_in(call.connection, agent.name, call.item.room_id)
    cost = f", ${figures.cost:.4f}" if figures.cost else ""
    rows = [
        ("agent", f"{agent.display_name} (`{agent.user_id}`)"),
        ("model", agent.model),
        ("conversation", f"{figures.messages} messages, about {figures.tokens} tokens"),
        ("used", f"{figures.prompt_tokens} tokens in, {figures.completion_tokens} out{cost}"),
        ("working on", f"{waiting} messages" if waiting else "nothing"),
        *([("waiting for", "your answer: `/approvals` says to what")] if asked else []),
        ("verbose", "on" if agent.verbose else "off"),
        ("reasoning", "on" if agent.reasoning else "off"),
        ("version", __version__),
    ]
    return "\n".join(f"- **{name}:** {value}" for name, value in rows)


async def _verbose(call: _Call) -> str:
    return await _switch(call, "verbose", "the tools I use")


async def _reasoning(call: _Call) -> str:
    return await _switch(call, "reasoning", "what I think before I answer")


async def _leave(call: _Call) -> str:
    lane = inbox.turns(call.item.agent, call.item.room_id)
    turn = await corrections.running(call.connection, lane)
    if turn is not None:
        await corrections.stop(call.connection, lane, turn)
    return "Goodbye. Invite me when you want me back."


async def _switch(call: _Call, setting: str, what: str) -> str:
    agent = await agents.get(call.connection, call.item.agent)
    if not call.argument:
        state = "on" if getattr(agent, setting) else "off"
        return f"`{setting}` is {state}. `/{setting} on` or `/{setting} off` changes it."
    if call.argument not in {"on", "off"}:
        return f"Type `/{setting} on` or `/{setting} off`."
    on = call.argument == "on"
    await agents.switch(call.connection, agent.name, setting, on)
    return f"From now on I {'show' if on else 'do not show'} {what}."


COMMANDS: dict[str, Callable[[_Call], Awaitable[str]]] = {
    "help": _help,
    "clear": _clear,
    "stop": _stop,
    "status": _status,
    "verbose": _verbose,
    "reasoning": _reasoning,
    "approvals": _approvals,
    "leave": _leave,
}
