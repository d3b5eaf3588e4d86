"""The Matrix side of a turn: sends what the outbox holds, and streams an answer by edits."""

import asyncio
import itertools
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine
from contextlib import aclosing, suppress
from dataclasses import dataclass
from typing import Any
from uuid import uuid4
from weakref import WeakValueDictionary

from mautrix.api import Method, Path

from memtrix_as.config import Limits
from memtrix_as.db import outbox, rooms, undeliverable
from memtrix_as.db.inbox import turns
from memtrix_as.db.outbox import Row
from memtrix_as.db.pool import DOWN, Pool
from memtrix_as.errors import AttachmentError, HomeserverError
from memtrix_as.matrix import content
from memtrix_as.matrix.client import Client, patiently
from memtrix_as.matrix.event import content_of
from memtrix_as.matrix.html import to_text
from memtrix_as.matrix.split import split
from memtrix_as.measures import Measures
from memtrix_as.messages import Place

log = logging.getLogger(__name__)

MESSAGE = "m.room.message"
REACTION = "m.reaction"
LONG = 4_000  # characters
DRAFT_LENGTH = 16_000  # characters of a growing answer that are shown
DRAFT = {content.DRAFT: True}
TYPING = 30.0  # seconds that one typing notice lasts; refreshed before
PATIENCE = 0.2  # seconds without an answer after which we show that somebody works
OVERTAKING = 3.0  # seconds that what follows an edit waits for it, lest it comes after that
FIRST_TEXT = 0.3  # seconds from the first text to the draft: a short answer needs none
COURTESIES = 2  # requests at once that show who works: what is said must not wait for them
REST = 12.0  # times as long as one took, none follows it: a busy homeserver has enough to do
LONGEST_REST = 2.0  # seconds


class MatrixChat:
    """What `tool.Chat` asks for, over Matrix."""

    def __init__(
        self,
        pool: Pool,
        client: Client,
        limits: Limits,
        user_of: Callable[[str], str],
        measures: Measures,
    ) -> None:
        self._pool = pool
        self._measures = measures
        self._client = client
        self._limits = limits
        self._user_of = user_of
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._tasks: set[asyncio.Task[None]] = set()
        self._courtesies = asyncio.Semaphore(COURTESIES)
        self.sure: Callable[[], bool] = lambda: True  # that the turns we show are still ours

    def stream(self, turn_id: int, place: Place, event_id: str, reply_to: str | None) -> "Stream":
        work = _Work(turn_id, place, self._user_of(place.agent), event_id, reply_to)
        return Stream(self, self._pool, self._client, self._limits, work)

    async def quote(self, place: Place, event_id: str) -> str | None:
        path, user = Path.v3.rooms[place.room_id].event[event_id], self._user_of(place.agent)
        try:
            event = await self._client.request(Method.GET, path, user=user)
        except HomeserverError as exc:
            log.info("Cannot look at %s: %s", event_id, exc)
            return None
        return to_text(content_of(event)) or None

    async def download(self, place: Place, source: str) -> AsyncGenerator[bytes, None]:
        try:
            async with aclosing(
                self._client.download(self._user_of(place.agent), source)
            ) as pieces:
                async for piece in pieces:
                    yield piece
        except HomeserverError as exc:
            raise AttachmentError(f"{exc}") from exc

    def post(self, lane: str) -> None:
        self.soon(self.deliver(lane))

    def soon(self, work: Coroutine[Any, Any, None]) -> None:
        """Do something that nobody waits for, and that may fail."""

        async def run() -> None:
            with suppress(HomeserverError, *DOWN):
                await work

        task = asyncio.create_task(run())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def courtesy(self, request: Callable[[], Awaitable[None]]) -> None:
        """Show that somebody works, few at a time: the busier all are, the fewer are shown it.

        Whose turn has ended before it came to that, is spared it.
        """
        loop = asyncio.get_running_loop()
        await self._courtesies.acquire()
        begun = loop.time()
        try:
            with suppress(HomeserverError):
                await request()
        finally:
            rest = min(REST * (loop.time() - begun), LONGEST_REST)
            loop.call_later(rest, self._courtesies.release)

    async def close(self) -> None:
        """Wait a moment for what nobody waits for; what is not out then goes after a restart."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=1.0)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def deliver(self, lane: str) -> None:
        """Send what waits in the lane, in order, waiting while the homeserver is away.

        What is put there meanwhile is for the next call.
        """
        async with self._locks.setdefault(lane, asyncio.Lock()):
            for row in await outbox.waiting(self._pool, lane):
                await self._deliver(row)

    async def _deliver(self, row: Row) -> None:
        tries = itertools.count(row.attempts)
        try:
            events = await patiently(lambda: self._send(row, again=next(tries) > 0))
        except HomeserverError as exc:
            # Kicked, banned, or the room is gone: final until somebody invites us again.
            log.warning("%s cannot speak in %s: %s", row.user_id, row.room_id, exc)
            cause = exc.errcode or str(exc.status)
            await undeliverable.failed(self._pool, row, str(exc), cause)
            if exc.errcode == "M_FORBIDDEN":
                await self._look_around(row)
            return
        waited = await outbox.sent(self._pool, row.id, events)
        if row.kind == "text" and waited is not None:
            self._measures.stage("sending", waited)

    async def _look_around(self, row: Row) -> None:
        """After a refusal: believe the homeserver about whether we are in that room."""
        try:
            answer = await self._client.request(Method.GET, Path.v3.joined_rooms, user=row.user_id)
        except HomeserverError as exc:
            log.info("Cannot see where %s is: %s", row.user_id, exc)
            return
        if row.room_id not in answer.get("joined_rooms", []):
            await rooms.left(self._pool, row.room_id, row.user_id)

    async def _send(self, row: Row, again: bool) -> list[str]:
        """Send all parts of a row; their event ids. What the homeserver has is not sent `again`."""
        if row.kind == "redaction":
            assert row.target is not None
            return [await self._client.redact(row.user_id, row.room_id, row.target, f"{row.key}.0")]
        if row.kind == "reaction":
            return await self._react(row)
        if row.kind == "leave":
            await self._client.leave(row.user_id, row.room_id, "asked to leave")
            return []
        known = await outbox.parts_sent(self._pool, row.id) if again else {}
        if again and 0 not in known:
            known |= await self._look_for(row)
        # Only now: the draft may have gone out right before this row.
        draft = await outbox.draft_event(self._pool, row.draft) if row.draft else None
        events: list[str] = []
        event = draft[1] if draft else None
        if len(row.text) < LONG:
            made = contents(row, event)
        else:  # rendering takes up to seconds, which others need not wait for
            made = await asyncio.to_thread(contents, row, event)
        for part, body in enumerate(made):
            event_id = known.get(part)
            if event_id is None:
                event_id = await self._client.send(
                    row.user_id, row.room_id, MESSAGE, f"{row.key}.{part}", body
                )
            events.append(event_id)
        return events

    async def _react(self, row: Row) -> list[str]:
        """Put an emoji on an event, or on what another row became: on none, if it never did."""
        on = row.target
        if row.draft and (became := await outbox.draft_event(self._pool, row.draft)):
            on = became[1]
        if on is None:
            return []
        key = f"{row.key}.0"
        body = content.reaction(on, row.text, key=key)
        try:
            return [await self._client.send(row.user_id, row.room_id, REACTION, key, body)]
        except HomeserverError as exc:
            if exc.errcode != "M_DUPLICATE_ANNOTATION":
                raise
            return []  # a try whose outcome was not known had gone through

    async def _look_for(self, row: Row) -> dict[int, str]:
        """Find parts of a row in its room, after a try whose outcome is not known.

        Synapse keeps transaction ids of application services in memory only, for about half an
        hour (synapse/rest/client/transactions.py), so one restarted meanwhile would send twice.
        """
        try:
            events = await self._client.last_events(row.user_id, row.room_id, 50)
        except HomeserverError as exc:
            log.info("Cannot look back in %s: %s", row.room_id, exc)
            return {}
        found: dict[int, str] = {}
        for event in events:
            key, _, part = str(content_of(event).get(content.KEY, "")).partition(".")
            if key == str(row.key) and part.isdigit():
                found[int(part)] = event["event_id"]
        return found


def contents(row: Row, draft: str | None) -> list[dict[str, Any]]:
    """The event contents that a row of the outbox becomes, the same at every call.

    The first completes the event `draft`, if there is one.
    """
    if row.kind == "file":
        return [row.content | {content.KEY: f"{row.key}.0"}]
    texts = split(row.text) or [""]
    kind: Any = "notice" if row.kind == "notice" else "text"
    made = []
    for part, text in enumerate(texts):
        body = content.text(
            text, kind=kind, thread=row.thread, reply_to=row.reply_to, key=f"{row.key}.{part}",
            hops=row.hops,
        )  # fmt: skip
        if row.kind == "draft":
            return [body | DRAFT]
        made.append(content.edit(body, draft) if draft and part == 0 else body)
    return made


@dataclass(frozen=True, slots=True)
class _Work:
    """What a stream shows: somebody's turn on a message."""

    turn_id: int
    place: Place
    user_id: str
    event_id: str
    reply_to: str | None


class Stream:
    """Typing, read receipt, and the text so far: a draft that is edited as it grows."""

    def __init__(
        self, chat: MatrixChat, pool: Pool, client: Client, limits: Limits, work: _Work
    ) -> None:
        self._chat = chat
        self._pool = pool
        self._client = client
        self._limits = limits
        self._work = work
        self._id = uuid4().hex[:8]  # a resumed turn edits the same draft anew
        self._text = ""
        self._grown = asyncio.Event()
        self._edit: asyncio.Task[Any] | None = None  # on its way
        self._tasks = [asyncio.create_task(self._show_work(), name="working")]
        if limits.streaming:
            self._tasks.append(asyncio.create_task(self._show_text(), name="streaming"))

    def feed(self, text: str) -> None:
        self._text += text
        self._grown.set()

    async def finish(self) -> None:
        """Stop showing; whatever draft stands in the room is completed by the outbox."""
        for task in self._tasks:
            task.cancel()
        for outcome in await asyncio.gather(*self._tasks, return_exceptions=True):
            if isinstance(outcome, Exception):
                log.error("Showing turn %d failed", self._work.turn_id, exc_info=outcome)
        self._tasks.clear()  # what they were cancelled by holds them, and they hold us
        if self._edit:
            await asyncio.wait({self._edit}, timeout=OVERTAKING)
            self._edit.cancel()
            await asyncio.gather(self._edit, return_exceptions=True)

    async def _show_work(self) -> None:
        user, room = self._work.user_id, self._work.place.room_id
        show, typing = self._chat.courtesy, False

        def type_() -> Awaitable[None]:
            nonlocal typing
            typing = True
            return self._client.typing(user, room, TYPING)

        try:
            await asyncio.sleep(PATIENCE)
            await show(lambda: self._client.read(user, room, self._work.event_id))
            while True:
                await show(type_)
                await asyncio.sleep(TYPING * 0.75)
        finally:
            if typing:
                self._chat.soon(show(lambda: self._client.typing(user, room, 0)))

    async def _show_text(self) -> None:
        await self._grown.wait()
        await asyncio.sleep(FIRST_TEXT)
        work, shown = self._work, await asyncio.to_thread(first_part, self._text)
        lane = turns(work.place.agent, work.place.room_id)
        draft = await outbox.draft(self._pool, lane, work.place, work.turn_id, shown, work.reply_to)
        if draft is None:
            return
        await self._chat.deliver(lane)
        standing = await outbox.draft_event(self._pool, draft)
        if standing is None:
            return
        key, event_id = standing
        for number in range(self._limits.edits_per_message):
            # Ever less often: a very long answer still moves after a minute.
            await asyncio.sleep(self._limits.edit_interval * (1 + number // 20))
            await self._grown.wait()
            self._grown.clear()
            text, body = await asyncio.to_thread(edited, self._text, work.place.thread)
            # What comes after the whole answer, sent by whoever took the turn from us, undoes it.
            if text == shown or not self._chat.sure():
                continue
            shown = text
            # Not in the outbox: the next edit, or the last one, says the same and more.
            self._edit = asyncio.create_task(self._client.send(
                work.user_id, work.place.room_id, MESSAGE,
                f"{key}.{self._id}.{number}", content.edit(body | DRAFT, event_id),
            ))  # fmt: skip
            with suppress(HomeserverError):
                await asyncio.shield(self._edit)
            self._edit = None


def edited(text: str, thread: str | None) -> tuple[str, dict[str, Any]]:
    """What of a growing answer is shown, and the content that shows it; takes a while."""
    shown = first_part(text)
    return shown, content.text(shown, kind="text", thread=thread, reply_to=None, key="")


def first_part(text: str) -> str:
    """What of a growing answer fits into its draft."""
    parts = split(text[:DRAFT_LENGTH])
    return parts[0] if parts else ""
