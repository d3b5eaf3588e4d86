"""The way in from a terminal: what is typed becomes a row of the inbox, as an event of a room."""

import re
import time
from uuid import uuid4

from memtrix_as.db import approvals, inbox, rooms
from memtrix_as.db.approvals import Question
from memtrix_as.db.pool import Connection, Pool
from memtrix_as.errors import AttachmentError
from memtrix_as.matrix import answers, intake
from memtrix_as.matrix.directory import Directory
from memtrix_as.matrix.intake import Facts
from memtrix_as.messages import AT_TERMINAL
from memtrix_as.terminal import enclosing

NUMBERED = re.compile(r"(?P<word>\S+)\s+#?(?P<number>\d{1,18})\s*$")
HELP = re.compile(r"\s*[/!]help\s*$", re.IGNORECASE)  # which tells what works in any room
WHICH = "Several questions are open. Say which one you mean: {ways}."
NOT_OPEN = "There is no open question {number} here."


class Door:
    """Takes in what the human types into one room."""

    def __init__(
        self, pool: Pool, directory: Directory, room_id: str, human: str, most: int
    ) -> None:
        """`most`: how many bytes a file may have."""
        self._pool = pool
        self._most = most
        self._directory = directory
        self.room_id = room_id
        self.human = human

    async def take(self, text: str) -> tuple[str | None, str]:
        """Its event id, and what is to be told right away; no id when nothing came of it."""
        try:
            content = enclosing.enclosed(text, self._most)
        except AttachmentError as exc:
            return None, str(exc)
        event = {
            "event_id": f"{AT_TERMINAL}{uuid4().hex}",
            "room_id": self.room_id,
            "type": "m.room.message",
            "sender": self.human,
            "origin_server_ts": int(time.time() * 1000),
            "content": content or {"msgtype": "m.text", "body": text},
        }
        world = self._directory.world()
        async with self._pool.acquire() as connection, connection.transaction():
            asked = await approvals.questions(connection, [self.room_id], [])
            asked = [q for q in asked if q.open and q.event_ids]  # what is on the screen
            if numbered := NUMBERED.match(text.strip()):
                word = answers.word(numbered["word"])
                if word and (asked or word.command):
                    return await self._answer(
                        connection, event, word.word, int(numbered["number"]), asked
                    )
            elif (word := answers.word(text)) and len(asked) > 1:
                ways = " or ".join(f"`{word.word} {q.id}`" for q in asked)
                return None, WHICH.format(ways=ways)
            room = (await rooms.load(connection, [self.room_id]))[self.room_id]
            decision = intake.decide(event, room, world, Facts(questions=asked))
            await inbox.put(connection, decision.arrivals)
        here = enclosing.HOW if HELP.match(text) else ""
        return (str(event["event_id"]), here) if decision.arrivals else (None, here)

    async def _answer(
        self, connection: Connection, event: dict[str, object], word: str, number: int,
        asked: list[Question],
    ) -> tuple[str | None, str]:  # fmt: skip
        meant = next((q for q in asked if q.id == number), None)
        if meant is None:
            return None, NOT_OPEN.format(number=number)
        arrival = answers.arrival(event, meant.agent, word, meant, None)
        await inbox.put(connection, [arrival])
        return str(event["event_id"]), ""
