"""Files that come with messages: kept in the agent's workspace, shown to models that can see.

The workspace is one for all rooms of an agent, but what somebody sent is known to those who were
there. So each file has an audience, and for a company that is not within it there is no such file.
"""

import asyncio
import hashlib
import logging
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import aclosing, suppress
from dataclasses import replace

from memtrix_as.db import attachments as rows
from memtrix_as.db.pool import Connection, Pool
from memtrix_as.documents import kinds
from memtrix_as.documents.images import Images
from memtrix_as.errors import AttachmentError, ToolError, WorkspaceFull
from memtrix_as.memory.company import Companies
from memtrix_as.messages import Attachment, Image, Incoming, Kept, Message, Place
from memtrix_as.tool import ToolContext
from memtrix_as.workspace import Workspaces
from memtrix_as.workspace.paths import parts, safe_name

log = logging.getLogger(__name__)

FOLDER = "attachments"
PATIENCE = 60.0  # seconds that a file may take
SIDE, BYTES = 1280, 1_000_000  # of an image as a model gets it: longest side in pixels, and bytes
CACHED = 16  # images that are kept small in memory: each request of a turn has them all again
SEEN = "a picture: {name}"

Download = Callable[[Place, str], AsyncIterator[bytes]]


class Attachments:
    """Keeps, shows, hides and forgets what came with messages."""

    def __init__(
        self,
        pool: Pool,
        workspaces: Workspaces,
        companies: Companies,
        images: Images,
        most: int,
    ) -> None:
        """`most`: how many bytes a file may have."""
        self._pool = pool
        self._workspaces = workspaces
        self._companies = companies
        self._images = images
        self._most = most
        self._small: OrderedDict[tuple[str, str], Image] = OrderedDict()

    async def keep(self, item_id: int, incoming: Incoming, download: Download) -> tuple[Kept, ...]:
        """The files of a message, fetched unless they are there; what went wrong stands in them.

        `item_id` is the inbox item of the message. Begun anew after a crash, it writes the same
        files again, since their names come of the event.
        """
        kept = []
        for file in incoming.attachments:
            agent, event_id = incoming.place.agent, incoming.event_id
            found = await rows.find(self._pool, agent, event_id)
            if found is None or await self._unfinished(item_id, agent, found):
                try:
                    async with asyncio.timeout(PATIENCE):
                        found = await self._fetch(item_id, incoming, file, download)
                except (AttachmentError, ToolError, TimeoutError) as exc:
                    why = _why(exc) or f"the homeserver did not give it within {PATIENCE:.0f} s"
                    log.warning("A file of %s cannot be had", event_id)
                    log.debug("It cannot be had: %s", why)
                    found = Kept(file.name, file.mimetype, file.size or 0, why=why)
            kept.append(found)
        return tuple(kept)

    async def _unfinished(self, item_id: int, agent: str, found: Kept) -> bool:
        """Whether a crash came between the row and its file; later, somebody has deleted it."""
        if self._workspaces.of(agent).exists(found.path):
            return False
        return not await rows.answered(self._pool, item_id)

    async def _fetch(
        self, item_id: int, incoming: Incoming, file: Attachment, download: Download
    ) -> Kept:
        if file.size is not None and file.size > self._most:
            raise AttachmentError(self._too_large())
        workspace = self._workspaces.of(incoming.place.agent)
        name = _unique(safe_name(file.name, "file"), incoming.event_id)
        size, head = 0, b""
        with workspace.incoming(FOLDER, name, replace=True) as out:
            async with aclosing(download(incoming.place, file.source)) as pieces:  # type: ignore[type-var]
                async for piece in pieces:
                    size += len(piece)
                    if size > self._most:
                        raise AttachmentError(self._too_large())
                    if len(head) < kinds.HEAD:
                        head += piece[: kinds.HEAD]
                    await asyncio.to_thread(out.write, piece)
            kind = kinds.kind(head, name)
            mimetype = file.mimetype if kind == kinds.UNKNOWN else kind
            kept = Kept(file.name, mimetype, size, f"{FOLDER}/{name}")
            # Before the file has its name: none ever stands there of which nobody knows for whom.
            await rows.add(self._pool, item_id, incoming.event_id, kept)
        return kept

    def _too_large(self) -> str:
        return f"it is larger than {self._most // 1_000_000} MB (limits.attachment_size)"

    async def known(self, incoming: Incoming, db: Connection | None = None) -> tuple[Kept, ...]:
        """The files of a message, as far as they were kept."""
        if not incoming.attachments:
            return ()
        agent = incoming.place.agent
        found = await rows.find(db or self._pool, agent, incoming.event_id)
        return (found,) if found else ()

    async def show(self, agent: str, messages: list[Message], most: int) -> None:
        """Give the newest images of a prompt their data, `most` of them; the others lose theirs."""
        for at in range(len(messages) - 1, -1, -1):
            message = messages[at]
            if not message.images:
                continue
            shown = []
            for image in message.images[:most]:
                if small := await self._scaled(agent, image):
                    shown.append(small)
            most -= len(shown)
            outside = SEEN.format(name=shown[0].path) if shown else message.outside
            messages[at] = replace(message, images=tuple(shown), outside=outside)

    async def _scaled(self, agent: str, image: Image) -> Image | None:
        key = (agent, image.path)
        if key not in self._small:
            try:
                with self._workspaces.of(agent).opened(image.path) as (file, _):
                    small = await self._images.scaled(file.fileno(), SIDE, BYTES)
            except ToolError as exc:
                log.info("A picture is not shown to the model")
                log.debug("%s: %s", image.path, exc)
                return None
            self._small[key] = Image(image.path, small.data, small.mimetype)
        self._small.move_to_end(key)
        while len(self._small) > CACHED:
            self._small.popitem(last=False)
        return self._small.get(key)

    async def admit(self, ctx: ToolContext, path: str) -> None:
        """ToolError, as if there were nothing, for a file that not all who are present may know."""
        names = parts(path, root=True)
        if len(names) < 2 or names[0].casefold() != FOLDER:
            return
        people = await self._present(ctx)
        if people is None:
            return
        for known in await rows.at(self._pool, ctx.place.agent, "/".join(names)):
            if not set(people) <= set(known.people):
                raise ToolError(f"There is no {path!r}. list_directory shows what there is.")

    async def hidden(self, ctx: ToolContext) -> set[str]:
        """The paths that are not to be shown to those who are present."""
        people = await self._present(ctx)
        if people is None:
            return set()
        return await rows.kept_from(self._pool, ctx.place.agent, people)

    async def _present(self, ctx: ToolContext) -> Sequence[str] | None:
        company = await self._companies.of(ctx.place.room_id, speaker=ctx.sender)
        return company.known_to

    async def withdraw(self, connection: Connection, room_id: str, event_id: str) -> None:
        """Delete what came with a message that its sender has taken back."""
        for known in await rows.withdrawn(connection, room_id, event_id):
            self._small.pop((known.agent, known.path), None)
            workspace = self._workspaces.of(known.agent)
            with suppress(ToolError):  # it is gone already
                await asyncio.to_thread(workspace.delete_file, known.path)


def _why(exc: Exception) -> str:
    """What was wrong, to end a sentence; a tool's refusal is one of its own."""
    if isinstance(exc, WorkspaceFull):
        return exc.why
    text = str(exc).rstrip(".")
    return text[:1].lower() + text[1:] if isinstance(exc, ToolError) else text


def _unique(name: str, event_id: str) -> str:
    """The name with a few letters of its event's in it: the same for the same event only."""
    stem, dot, ending = name.rpartition(".")
    mark = hashlib.sha256(event_id.encode(errors="replace")).hexdigest()[:8]
    return f"{stem}-{mark}.{ending}" if dot and stem else f"{name}-{mark}"
