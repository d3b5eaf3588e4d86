"""The commands that a human types in a room, from /help to /leave."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from memtrix_as import __version__
from memtrix_as.agent import budget, permissions, persona_commands, spending
from memtrix_as.agent.means import Means
from memtrix_as.db import (
    agents,
    approvals,
    consultations,
    corrections,
    inbox,
    outbox,
    sessions,
    usage,
)
from memtrix_as.db.inbox import Item
from memtrix_as.db.pool import Connection
from memtrix_as.db.queue import Lease
from memtrix_as.memory.company import Companies
from memtrix_as.memory.keeper import Keeper
from memtrix_as.messages import Incoming

# A list and no table: some clients on phones show no tables, and others squeeze them.
HELP = """\
- `/help` shows this
- `/clear` starts a fresh conversation in this room
- `/stop` stops what I am doing
- `/status` shows my model, this conversation's size, what I use, and what I am doing
- `/verbose on` (or `off`) shows the tools I use, in a thread at your message
- `/reasoning on` (or `off`) shows what I think before I answer, in that thread
- `/recall on` (or `off`) looks up what I remember of your message before I answer
- `/persona` shows the files that make me who I am; `/persona help` tells how to change them
- `/yes`, `/no`, `/always` answer the question that I have asked
- `/approvals` shows open questions and what I do in this room without asking
- `/leave` makes me leave this room; invite me to have me back

In Element, which keeps `/` for itself, write `!help` and so on. Everything else is for me to \
read: just write."""


SLIP = (
    "Did you mean `/{meant}`? There is no `/{name}`, so nothing was done. If it was for me to "
    "read, begin it with another word."
)
TOO_LATE = "This command reached me {hours:.0f} hours late, so I left it. Type it again."
NOTING = 1.0  # seconds that the figures of calls that have just ended are waited for
TAKING = {"verbose", "reasoning", "recall", "persona", "approvals"}  # an argument


@dataclass(frozen=True, slots=True)
class _Call:
    means: Means
    connection: Connection
    item: Item
    incoming: Incoming
    argument: str
    later: list[Callable[[], Awaitable[None]]] = field(default_factory=list)  # after the commit


async def run(means: Means, item: Item, _: Lease) -> bool:
    """Do what a command says, and say so, in one commit."""
    incoming = means.read(item.payload, item.agent)
    name, argument = incoming.command or ("help", "")
    late = (item.received_at - incoming.sent_at).total_seconds() / 3600
    old = late > means.config.limits.catch_up_hours and incoming.sent_at.timestamp() > 0
    if old and not item.retry:
        # What was to be stopped or cleared days ago is not what is there now.
        async with means.pool.acquire() as connection, connection.transaction():
            await inbox.hold(connection, item.id)
            words = TOO_LATE.format(hours=late)
            await outbox.say(
                connection, item.lane, incoming.place, words, reply_to=incoming.event_id
            )
            await inbox.finish(connection, item.id, words)
        return True
    if name == "persona":  # it asks who the owner is
        await means.services[Companies].meet(incoming.sender)
    async with means.pool.acquire() as connection, connection.transaction():
        await inbox.hold(connection, item.id)
        call = _Call(means, connection, item, incoming, argument.strip())
        if name not in COMMANDS:
            words = SLIP.format(meant=incoming.meant, name=name)
        elif argument and name not in TAKING:
            words = f"`/{name}` takes no argument; nothing was done. `/help` shows the commands."
        else:
            words = await COMMANDS[name](call)
        await outbox.say(connection, item.lane, incoming.place, words)
        if name == "leave" and not argument:
            await outbox.leave(connection, item.lane, incoming.place)
        await inbox.finish(connection, item.id)
    for step in call.later:
        await step()
    return True


async def _persona(call: _Call) -> str:
    request = persona_commands.Request(
        call.means, call.connection, call.item, call.incoming, call.argument, call.later
    )
    return await persona_commands.run(request)


async def _help(_: _Call) -> str:
    return HELP


async def _clear(call: _Call) -> str:
    count = await sessions.clear(call.connection, call.item.agent, call.item.room_id)
    # With it goes what other agents were asked on behalf of those who are here.
    companies: Companies = call.means.services[Companies]
    company = await companies.of(call.item.room_id, call.connection, call.incoming.sender)
    await sessions.end(call.connection, consultations.pair(call.item.agent, company.people))
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
    return await permissions.command(
        call.means, call.connection, call.incoming, call.argument.lower()
    )


async def _status(call: _Call) -> str:
    await call.means.models.settle(NOTING)
    agent = await agents.get(call.connection, call.item.agent)
    figures = await sessions.status(call.connection, agent.name, call.item.room_id)
    waiting = await inbox.depth(call.connection, inbox.turns(agent.name, call.item.room_id))
    asked = await approvals.open_in(call.connection, agent.name, call.item.room_id)
    config = call.means.config
    spent = await usage.today(call.connection, agent.name, str(config.timezone))
    cost = f", {budget.dollars(figures.cost)}" if figures.cost else ""
    taken = f"{figures.prompt_tokens:,} tokens in, {figures.completion_tokens:,} out"
    rows = [
        ("agent", f"{agent.display_name} (`{agent.user_id}`)"),
        ("model", agent.model),
        ("conversation", f"{figures.messages:,} messages, about {figures.tokens:,} tokens"),
        ("used by it", f"{taken}{cost}"),
        *spending.today(budget.limits(config.budgets, agent.name, agent.display_name), spent),
        ("working on", f"{waiting} message{'s' * (waiting != 1)}" if waiting else "nothing"),
        ("memory", await _memory(call)),
        *([("waiting for", "your answer: `/approvals` says to what")] if asked else []),
        ("verbose", "on" if agent.verbose else "off"),
        ("reasoning", "on" if agent.reasoning else "off"),
        ("recall", "on" if agent.recall else "off"),
        ("version", __version__),
    ]
    return "\n".join(f"- **{name}:** {value}" for name, value in rows)


async def _memory(call: _Call) -> str:
    keeper: Keeper = call.means.services[Keeper]
    progress, turns = await keeper.progress()
    text = f"{progress.total} passage{'s' * (progress.total != 1)}"
    if turns:
        text += f", {turns} messages still to be indexed"
    if keeper.trouble:
        return f"{text}; searched by words alone: {keeper.trouble}"
    if not keeper.embedders:
        return f"{text}; searched by words alone (`embeddings.model` is none)"
    if progress.done < progress.total:
        return f"{text}, {progress.done} of them searched by meaning too so far"
    return text


async def _recall(call: _Call) -> str:
    return await _switch(call, "recall", "look up what I remember before I answer")


async def _verbose(call: _Call) -> str:
    return await _switch(call, "verbose", "show the tools I use")


async def _reasoning(call: _Call) -> str:
    return await _switch(call, "reasoning", "show what I think before I answer")


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
    direction = call.argument.lower()
    if direction not in {"on", "off"}:
        return f"Type `/{setting} on` or `/{setting} off`."
    on = direction == "on"
    await agents.switch(call.connection, agent.name, setting, on)
    return f"From now on I {'' if on else 'do not '}{what}."


COMMANDS: dict[str, Callable[[_Call], Awaitable[str]]] = {
    "help": _help,
    "clear": _clear,
    "stop": _stop,
    "status": _status,
    "verbose": _verbose,
    "reasoning": _reasoning,
    "persona": _persona,
    "recall": _recall,
    "approvals": _approvals,
    "leave": _leave,
}
