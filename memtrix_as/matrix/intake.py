"""What an event is to us: pure decisions, from raw JSON that nobody has checked."""

import difflib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from memtrix_as.config import Role, role
from memtrix_as.db import inbox, retries
from memtrix_as.db.approvals import Question
from memtrix_as.db.inbox import Arrival
from memtrix_as.db.rooms import MOST_HUMANS, Room
from memtrix_as.matrix import answers, html, orders
from memtrix_as.matrix.content import DRAFT, HOPS, KEY, THREAD
from memtrix_as.matrix.event import (
    attachments,
    content_of,
    display_name,
    mapping,
    reply_to,
    string,
    target,
    thread,
)
from memtrix_as.messages import Incoming, Place

MESSAGES = {"m.room.message", "m.sticker"}
OVERTAKING = {"m.room.encrypted": "encrypted", "m.room.redaction": "redaction"}
# What overtakes a running turn; the other commands keep their place in the lane.
CONTROLS = {
    "stop", "status", "help", "verbose", "reasoning", "recall", "leave", "persona", "approvals",
}  # fmt: skip
COMMANDS = CONTROLS | {"clear"}
NAMES = sorted(COMMANDS | {"always"})  # that a slip can be meant for; yes and no are too short
ALIKE = 0.75  # from 0 to 1, how like a command a word must be to be taken for a slip
MOST_WORDS = 2  # behind what is taken for a slip; with more it is something to be read
COMMAND = re.compile(r"\s*[/!]([a-z]+)(?:\s+(.*))?$", re.DOTALL | re.IGNORECASE)


@dataclass(frozen=True)
class World:
    """What intake knows besides rooms: our users and what others may do."""

    agents: Mapping[str, str]  # user id -> name
    display_names: Mapping[str, str]  # name -> display name
    main: str  # name of the main agent
    roles: Mapping[str, Role]  # user id, domain or "*"
    ours: Sequence[str]  # user ids of ours that are no agents
    hops: int = 3  # agents that may hand a message on to each other
    namespace: str = ""  # a pattern for the user ids that our agents have, or had

    def role(self, user_id: str) -> Role:
        return role(self.roles, user_id)


@dataclass(frozen=True, slots=True)
class Facts:
    """Which agent sent an event, which have spoken in a thread (by root event), and the questions
    that wait for a human, or that an event answers."""

    sent: Mapping[str, str] = field(default_factory=dict)
    spoken: Mapping[str, frozenset[str]] = field(default_factory=dict)
    questions: Sequence[Question] = ()


@dataclass(frozen=True, slots=True)
class Decision:
    """What an event leads to."""

    arrivals: tuple[Arrival, ...] = ()
    joined: tuple[str, str | None] | None = None  # user id, display name
    left: str | None = None  # user id
    echo: tuple[UUID, int] | None = None  # our own event: key and part


NOTHING = Decision()


def decide(event: Mapping[str, Any], room: Room, world: World, facts: Facts) -> Decision:
    """Say what an event is; `room` is as it stands right before it."""
    kind, sender = event.get("type"), event.get("sender")
    if not isinstance(kind, str) or not isinstance(sender, str):
        return NOTHING
    if kind == "m.room.member" and isinstance(event.get("state_key"), str):
        return _member(event, room, world)
    if is_echo(event, world):
        return Decision(_handed_on(event, room, world), echo=_echo(event))
    ordered = orders.arrivals(event, room, world.main)
    # Whether somebody may redact is the homeserver's to judge.
    if ordered is not None or (world.role(sender) == "none" and kind != "m.room.redaction"):
        return Decision(ordered or ())
    if kind not in MESSAGES and kind not in OVERTAKING and kind != answers.REACTION:
        return NOTHING
    if not room.synced:
        return _one(event, inbox.lobby(room.room_id), "unsorted")
    if kind in OVERTAKING:
        return _one(event, inbox.controls(room.room_id), OVERTAKING[kind])
    if kind == answers.REACTION:
        return _reaction(event, room, facts)
    return _message(event, room, world, facts)


def _reaction(event: Mapping[str, Any], room: Room, facts: Facts) -> Decision:
    if meant := answers.again(content_of(event)):
        payload = {"sender": event["sender"], "target": meant}
        lane, event_id = inbox.controls(room.room_id), str(event["event_id"])
        return Decision((Arrival(lane, retries.KIND, room.room_id, "", event_id, payload),))
    return Decision(answers.reaction(event, facts.questions))


def echo(event: Mapping[str, Any], world: World) -> tuple[UUID, int] | None:
    """The key and part of an event that we have sent ourselves, by which its row is found."""
    return _echo(event) if is_echo(event, world) else None


def is_echo(event: Mapping[str, Any], world: World) -> bool:
    """Whether an event is one that we have sent ourselves."""
    sender = str(event.get("sender"))
    # One that is no more may have had the last word.
    gone = bool(world.namespace) and re.fullmatch(world.namespace, sender) is not None
    return (sender in world.agents or sender in world.ours or gone) and event.get(
        "type"
    ) != "m.room.member"


def after(room: Room, decision: Decision, world: World) -> Room:
    """The room as it stands after an event."""
    agents, humans = set(room.agents), set(room.humans)
    for user in (decision.joined[0] if decision.joined else None, decision.left):
        if user is None:
            continue
        name = world.agents.get(user)
        group, member = (agents, name) if name else (humans, user)
        (group.add if decision.joined else group.discard)(member)
    return replace(
        room,
        agents=frozenset(agents),
        humans=frozenset(humans),
        synced=room.synced and bool(agents),
    )


def _one(event: Mapping[str, Any], lane: str, kind: str, agent: str = "") -> Decision:
    return Decision((_arrival(event, lane, kind, agent),))


def _arrival(event: Mapping[str, Any], lane: str, kind: str, agent: str) -> Arrival:
    return Arrival(lane, kind, str(event["room_id"]), agent, str(event["event_id"]), dict(event))


def handing_on(event: Mapping[str, Any], world: World) -> Mapping[str, Any] | None:
    """What an agent has said, if it may hand the message on to whom it names; finished words only.

    Each time counts; at the hop limit it ends, so that agents do not talk for ever.
    """
    content = content_of(event)
    hops = content.get(HOPS, 0)
    final = content.get("msgtype") == "m.text" and not content.get(DRAFT)
    if not final or event.get("type") != "m.room.message" or event["sender"] not in world.agents:
        return None
    if not isinstance(hops, int) or not 0 <= hops < world.hops or len(world.agents) < 2:
        return None
    said = mapping(content.get("m.new_content")) or content
    body = said.get("body")
    if not isinstance(body, str) or not ("@" in body or ":" in body or "matrix.to" in str(said)):
        return None  # nobody can be named in it
    if not any(_hands_on(said, user, name, world) for user, name in world.agents.items()):
        return None
    return said


def _handed_on(event: Mapping[str, Any], room: Room, world: World) -> tuple[Arrival, ...]:
    """The arrivals at the agents in the room that an agent's words name."""
    said = handing_on(event, world)
    if said is None:
        return ()
    content = content_of(event)
    relation = mapping(content.get("m.relates_to"))
    edited = relation.get("event_id") if relation.get("rel_type") == "m.replace" else None
    if root := string(content.get(THREAD)):
        said = {**said, "m.relates_to": {"rel_type": "m.thread", "event_id": root}}
    whole = {**event, "content": said, "event_id": string(edited) or event["event_id"]}
    hops = content.get(HOPS, 0) + 1
    return tuple(
        replace(_arrival(whole, inbox.turns(name, room.room_id), "message", name), hops=hops)
        for user, name in sorted(world.agents.items())
        if name in room.agents and user != event["sender"] and _hands_on(said, user, name, world)
    )


def _hands_on(content: Mapping[str, Any], user: str, name: str, world: World) -> bool:
    """Whether words hand the message on to an agent: "@Name" anywhere, "Name:" in front."""
    body = content.get("body")
    if not isinstance(body, str):
        return False
    formatted = content.get("formatted_body")
    if isinstance(formatted, str) and f"https://matrix.to/#/{user}" in formatted:
        return True
    called, known = re.escape(world.display_names.get(name, name)), re.escape(user)
    pattern = rf"(?<!\w)@{called}(?!\w)|\A\s*\W*{called}\W*:|\A\s*{known}"
    return bool(re.search(pattern, body, re.IGNORECASE))


def _echo(event: Mapping[str, Any]) -> tuple[UUID, int] | None:
    key, _, part = str(content_of(event).get(KEY, "")).partition(".")
    try:
        return UUID(key), int(part)
    except ValueError:
        return None


def _member(event: Mapping[str, Any], room: Room, world: World) -> Decision:
    user, content = str(event["state_key"]), content_of(event)
    membership = content.get("membership")
    agent = world.agents.get(user)
    if membership == "join":
        arrivals: tuple[Arrival, ...] = ()
        if (agent or room.agents) and not room.synced:
            # Heard once more when the room is known, after what the homeserver said of it then.
            arrivals = (_arrival(event, inbox.lobby(room.room_id), "arrived", ""),)
        return Decision(arrivals, joined=(user, display_name(content)))
    if membership == "invite" and agent:
        allowed = world.role(str(event["sender"])) != "none" or event["sender"] in world.agents
        lane = inbox.turns(agent, room.room_id)
        return _one(event, lane, "invite" if allowed else "decline", agent)
    if membership == "invite" and world.namespace and re.fullmatch(world.namespace, user):
        return _one(event, inbox.controls(room.room_id), "decline")  # of one that is no more
    if membership in {"leave", "ban"}:
        late = room.agents and not room.synced and not agent
        lobby = inbox.lobby(room.room_id)
        again = (_arrival(event, lobby, "arrived", ""),) if late else ()
        return Decision(again, left=user)
    return NOTHING


def _message(event: Mapping[str, Any], room: Room, world: World, facts: Facts) -> Decision:
    content = content_of(event)
    relation = mapping(content.get("m.relates_to"))
    if relation.get("rel_type") == "m.replace":
        return _one(event, inbox.controls(room.room_id), "edit")
    kind = content.get("msgtype")
    if event["type"] == "m.room.message" and (not isinstance(kind, str) or kind == "m.notice"):
        return NOTHING
    text = html.to_text(content)
    files = attachments(event, content)
    if not text.strip() and not files:
        return NOTHING
    if not files and (answered := _answer(event, text, room, world, facts)):
        return Decision(answered)
    agents = addressed(event, room, world, facts)
    command = _command(text, agents, world)
    arrivals = []
    for agent in sorted(agents):
        lane, what = inbox.turns(agent, room.room_id), "message"
        if command:
            what = "command"
            if command[0] in CONTROLS or slip(command):
                lane = inbox.controls(room.room_id, agent)
        people = tuple(sorted(room.humans)) if len(room.humans) < MOST_HUMANS else None
        arrivals.append(replace(_arrival(event, lane, what, agent), people=people))
    return Decision(tuple(arrivals))


def _answer(
    event: Mapping[str, Any], text: str, room: Room, world: World, facts: Facts
) -> tuple[Arrival, ...]:
    """The arrival of a yes or no to a question, when the message is that and nothing else."""
    content = content_of(event)
    named = directly(event, room, world, facts)
    said = answers.word(unaddressed(text, named or room.agents, world))
    if said is None:
        return ()
    meant = reply_to(content)
    if meant and (found := answers.pointed(facts.questions, room.room_id, meant)):
        return (answers.arrival(event, found.agent, said.word, found, thread(content)),)
    if meant and not said.command:
        return ()  # it answers something else
    # Where the agents are alone with one human, a yes need not say whom of them it is for.
    agents = named or (room.agents if len(room.humans) < 2 else frozenset())
    agents = agents or addressed(event, room, world, facts)
    waiting = answers.waiting(facts.questions, room.room_id, agents, thread(content))
    if len(waiting) == 1:
        return (answers.arrival(event, waiting[0].agent, said.word, waiting[0], thread(content)),)
    if waiting or (said.command and agents):
        default = world.main if world.main in agents else min(agents)
        agent = waiting[0].agent if waiting else default
        return (
            answers.arrival(
                event, agent, said.word, None, thread(content), ambiguous=bool(waiting)
            ),
        )
    return ()


def addressed(event: Mapping[str, Any], room: Room, world: World, facts: Facts) -> frozenset[str]:
    """The agents that a human's message is for."""
    content = content_of(event)
    if direct := directly(event, room, world, facts):
        return direct
    root = thread(content)
    if root and (spoken := facts.spoken.get(root, frozenset()) & room.agents):
        return spoken
    if len(room.humans) > 1:
        return frozenset()
    if len(room.agents) == 1:
        return room.agents
    return frozenset({world.main}) & room.agents


def directly(event: Mapping[str, Any], room: Room, world: World, facts: Facts) -> frozenset[str]:
    """The agents that a message names, or whose message it replies to."""
    content = content_of(event)
    named = frozenset(
        name for user, name in world.agents.items()
        if name in room.agents and _mentions(content, user, name, world)
    )  # fmt: skip
    replied = facts.sent.get(reply_to(content) or "")
    return named | ({replied} & room.agents if replied else frozenset())


def _mentions(content: Mapping[str, Any], user: str, name: str, world: World) -> bool:
    mentioned = mapping(content.get("m.mentions")).get("user_ids")
    if isinstance(mentioned, list) and user in mentioned:
        return True
    formatted = content.get("formatted_body")
    if isinstance(formatted, str) and (
        f"https://matrix.to/#/{user}" in formatted or f"matrix:u/{user[1:]}" in formatted
    ):
        return True
    body = content.get("body")
    if not isinstance(body, str):
        return False
    return user in body or bool(_name_at_start(name, world).match(body))


def _name_at_start(name: str, world: World) -> re.Pattern[str]:
    names = {name, world.display_names.get(name, name)}
    ids = {user for user, known in world.agents.items() if known == name}
    either = "|".join(sorted((re.escape(n) for n in names | ids), key=len, reverse=True))
    return re.compile(rf"\s*@?(?:{either})(?:\s*[:,]\s*|\s+(?=[/!])|\s*$)", re.IGNORECASE)


def unaddressed(text: str, agents: frozenset[str], world: World) -> str:
    """The text without the name that it begins with, if that is who it is for."""
    for name in agents:
        if match := _name_at_start(name, world).match(text):
            return text[match.end() :]
    return text


def incoming(event: Mapping[str, Any], agent: str, world: World) -> Incoming:
    """Read a message event for an agent; wrong types read as absent."""
    content = content_of(event)
    relation = mapping(content.get("m.relates_to"))
    if relation.get("rel_type") == "m.replace":
        content = {**mapping(content.get("m.new_content")), "m.relates_to": {}}
    files = attachments(event, content)
    # A file's body is its name, unless there is another name: then it is a caption (spec 1.10).
    captioned = not files or content.get("filename", content.get("body")) != content.get("body")
    text = html.to_text(content) if captioned else ""
    sent_at = event.get("origin_server_ts")
    seconds = sent_at / 1000 if isinstance(sent_at, int) and 0 <= sent_at < 1 << 45 else 0
    command = _command(text, frozenset({agent}), world)
    return Incoming(
        event_id=str(event["event_id"]),
        place=Place(str(event["room_id"]), agent, thread(content)),
        sender=str(event["sender"]),
        text=text,
        sent_at=datetime.fromtimestamp(seconds, UTC),
        reply_to=reply_to(content),
        attachments=files,
        command=command,
        meant=slip(command) if command else "",
        target=target(event),
    )


def _command(text: str, agents: frozenset[str], world: World) -> tuple[str, str] | None:
    match = COMMAND.match(unaddressed(text, agents, world))
    name = match[1].lower() if match else ""  # phones begin a line with a capital
    command = (name, (match[2] or "").strip()) if match else None
    return command if command and (name in COMMANDS or slip(command)) else None


def slip(command: tuple[str, str]) -> str:
    """The command that was meant by what is none; empty where it may be something to be read."""
    name, argument = command
    if name in COMMANDS or len(argument.split()) > MOST_WORDS:
        return ""
    near = [known for known in NAMES if abs(len(known) - len(name)) < 2]
    return next(iter(difflib.get_close_matches(name, near, 1, ALIKE)), "")
