"""The homeserver's admin room: has us registered there, as an administrator would by hand."""

import asyncio
import re
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from memtrix_as.config import Homeserver
from memtrix_as.errors import HomeserverError
from memtrix_as.matrix.account import Account
from memtrix_as.matrix.event import content_of, reply_to

# What the command begins with. Conduit wants it after a mention of itself, as plain text.
COMMANDS = {
    "conduit": "@conduit:{domain}: register-appservice",
    "tuwunel": "!admin appservices register",
    "continuwuity": "!admin appservices register",
}
REGISTERED = re.compile(r"Appservice registered with ID: (.+?)\.?\s*$", re.MULTILINE)
FAILED = re.compile(
    r"Could not parse appservice config|Failed to register appservice|Expected code block"
)
POLL = 0.5  # seconds between two looks for the reply
STRANGE = 3.0  # seconds that a reply of another shape may be followed by ours


@dataclass(frozen=True)
class Said:
    """What came of the command: the server's words, and whether our message is gone again."""

    accepted: bool
    reply: str  # empty when there was none in time
    redacted: bool


def command(homeserver: Homeserver, registration: str) -> str:
    """The whole message. A word after the three backticks would be refused by Conduit."""
    first = COMMANDS[homeserver.software].format(domain=homeserver.domain)
    return f"{first}\n```\n{registration.strip()}\n```"


def by_hand(homeserver: Homeserver, service_id: str, registration: Path) -> str:
    """What an operator does where we cannot."""
    if homeserver.software == "synapse":
        return (
            f"Name {registration.absolute()} in app_service_config_files of Synapse's "
            "homeserver.yaml (or a copy that Synapse can read), and restart Synapse."
        )
    first = COMMANDS[homeserver.software].format(domain=homeserver.domain)
    again = ""
    if homeserver.software != "conduit":
        again = f' Should it say "Duplicate id", send `!admin appservices unregister {service_id}`.'
    return (
        f"In the room #admins:{homeserver.domain}, send `{first}`, and below it in the same "
        f"message the contents of {registration} between two lines of three backticks. "
        f"Delete that message afterwards: it holds the tokens.{again}"
    )


async def find(account: Account, domain: str) -> str:
    """The admin room's id; HomeserverError where the account is no administrator."""
    alias = f"#admins:{domain}"
    try:
        found = await account.call("GET", f"directory/room/{quote(alias)}")
        room = str(found["room_id"])
    except HomeserverError as exc:
        if exc.status != 404:
            raise
        raise HomeserverError(f"The homeserver has no room {alias}.") from exc
    if room not in (await account.call("GET", "joined_rooms"))["joined_rooms"]:
        raise HomeserverError(
            f"{account.user} is no administrator: it is not in {alias}. The first account of a "
            "homeserver is one, and so is `conduit` with the emergency password."
        )
    return room


async def register(
    account: Account, homeserver: Homeserver, registration: str, patience: float
) -> Said:
    """Send the command and wait `patience` seconds for the reply; our message is taken back."""
    room = await find(account, homeserver.domain)
    sent = await account.send(room, command(homeserver, registration))
    try:
        reply = await _reply(account, room, sent, f"@conduit:{homeserver.domain}", patience)
    finally:
        redacted = await _take_back(account, room, sent)
    return Said(bool(REGISTERED.search(reply)), reply, redacted)


async def _take_back(account: Account, room: str, event: str) -> bool:
    try:
        await account.redact(room, event)
    except HomeserverError:
        return False
    return True


async def _reply(account: Account, room: str, sent: str, server: str, patience: float) -> str:
    deadline, strange, since = time.monotonic() + patience, "", 0.0
    while time.monotonic() < deadline:
        page = await account.call("GET", f"rooms/{quote(room)}/messages", None, dir="b", limit="30")
        for event in _after(page.get("chunk", []), sent):
            text = str(content_of(event).get("body", ""))
            if event.get("sender") != server or not text:
                continue
            to = reply_to(content_of(event))
            if to == sent or (to is None and (REGISTERED.search(text) or FAILED.search(text))):
                return text
            if not strange:
                strange, since = text, time.monotonic()
        if strange and time.monotonic() - since > STRANGE:
            break
        await asyncio.sleep(POLL)
    return strange


def _after(newest_first: list[dict[str, Any]], sent: str) -> list[dict[str, Any]]:
    """The events after ours, in their order; all, if so many followed that it is not among them."""
    after = []
    for event in newest_first:
        if event.get("event_id") == sent:
            break
        after.append(event)
    return after[::-1]
