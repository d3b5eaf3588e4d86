"""Requests to the homeserver as one of our users, over mautrix's masquerading client.

Only the raw request layer is used. mautrix's higher calls join, invite and unban on their own
when a send is refused; an agent that was shown the door must stay outside.
"""

import asyncio
import logging
import random
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, TypeVar, cast
from uuid import uuid4

import aiohttp
from mautrix.api import HTTPAPI, MediaPath, Method, Path
from mautrix.appservice import AppServiceAPI
from mautrix.errors import MatrixConnectionError, MatrixRequestError
from mautrix.types import UserID
from mautrix.util.logging import TraceLogger
from yarl import URL

from memtrix_as.config import Config
from memtrix_as.errors import HomeserverError

log = logging.getLogger(__name__)
T = TypeVar("T")

CONNECTIONS = 200  # to the homeserver, at once
REQUEST_TIMEOUT = 30.0  # seconds
UPLOAD_TIMEOUT = 300.0  # seconds
NO_TOTAL = aiohttp.ClientTimeout(total=None, sock_connect=10, sock_read=20)  # seconds
UNREACHED = {0, 502, 503, 504}  # 502 is a proxy before a server that is away
AWAY = UNREACHED | {401, 429}
"""Statuses that say nothing about the request."""
TRIES = 24  # of a request that the server is there for and fails at: some four minutes
LONGEST_WAIT = 3.0  # seconds between two tries while the homeserver is away
RETRYABLE = {0, 401, 408, 429, 500, 502, 503, 504, 520, 521, 522, 523, 524}
"""Statuses after which the same request may succeed; 401 is a registration being replaced."""


@asynccontextmanager
async def opened(config: Config) -> AsyncIterator["Client"]:
    """A client for as long as its connections are needed."""
    connector = aiohttp.TCPConnector(limit=CONNECTIONS)
    headers = {"User-Agent": AppServiceAPI.default_ua}
    async with aiohttp.ClientSession(connector=connector, headers=headers) as http:
        yield Client(config, http)


class Client:
    """The client-server API, for the users of our namespace."""

    def __init__(self, config: Config, http: aiohttp.ClientSession) -> None:
        service, homeserver = config.appservice, config.homeserver
        self._http = http
        self._server = homeserver.address
        self._token = service.as_token
        self._away = False
        self._lapses = 0  # requests in a row that took too long
        self.returned: Callable[[], None] = lambda: None
        """Called when the homeserver answers again, after it could not be reached."""
        self._api = AppServiceAPI(
            homeserver.address,
            UserID(f"@{service.bot_username}:{homeserver.domain}"),
            service.as_token,
            log=cast(TraceLogger, logging.getLogger("mau.as")),
            client_session=http,
        )

    async def request(
        self,
        method: Method,
        path: Any,
        content: Mapping[str, Any] | None = None,
        *,
        user: str,
        query: Mapping[str, str] | None = None,
        timeout: float = REQUEST_TIMEOUT,
    ) -> Any:
        """The response's JSON; HomeserverError says whether another try makes sense."""
        api = self._api.user(UserID(user))
        try:
            answer = await _call(api, method, path, content, query, timeout)
        except HomeserverError as exc:
            # One that takes too long says nothing about the others.
            self._lapses = self._lapses + 1 if isinstance(exc.__cause__, TimeoutError) else 0
            self._away = self._away or (exc.status in UNREACHED and self._lapses != 1)
            raise
        self._lapses = 0
        if self._away:
            self._away = False
            self.returned()
        return answer

    async def last_events(self, user: str, room_id: str, count: int) -> list[dict[str, Any]]:
        """The newest events of a room, newest first, as `user` may see them."""
        path, query = Path.v3.rooms[room_id].messages, {"dir": "b", "limit": str(count)}
        try:
            page = await self.request(Method.GET, path, user=user, query=query)
        except HomeserverError as exc:
            if exc.status != 500:
                raise
            # Conduit fails where it expects a device, which application services do not have.
            token = await self.login(user)
            try:
                page = await self.ask(token, path, query)
            finally:
                await self.logout(token)
        return [event for event in page.get("chunk", []) if isinstance(event, dict)]

    async def login(self, user: str) -> str:
        """A real access token of one of our users, for what the homeserver refuses to ours."""
        body = {
            "type": "m.login.application_service",
            "identifier": {"type": "m.id.user", "user": user},
            # A device of its own each time: both servers answer the first /sync of a device that
            # they know from what they have cached, Conduit for as long as it runs.
            "device_id": f"MEMTRIX{uuid4().hex[:12].upper()}",
            "initial_device_display_name": "catching up",
        }
        answer = await self.request(Method.POST, Path.v3.login, body, user=user)
        return str(answer["access_token"])

    async def ask(
        self, token: str, path: Any, query: Mapping[str, str], timeout: float = REQUEST_TIMEOUT
    ) -> Any:
        """A GET with a token that `login` gave."""
        return await _call(self._with(token), Method.GET, path, None, query, timeout)

    async def logout(self, token: str) -> None:
        """Give a token back."""
        await _call(self._with(token), Method.POST, Path.v3.logout, None, None, REQUEST_TIMEOUT)

    def _with(self, token: str) -> HTTPAPI:
        return HTTPAPI(self._server, token, client_session=self._http)

    async def send(
        self, user: str, room_id: str, event_type: str, txn: str, content: Mapping[str, Any]
    ) -> str:
        """Send an event; the same `txn` never makes a second one. Returns its event id."""
        path = Path.v3.rooms[room_id].send[event_type][txn]
        return str((await self.request(Method.PUT, path, content, user=user))["event_id"])

    async def upload(
        self, user: str, pieces: AsyncGenerator[bytes, None], size: int, mimetype: str, name: str
    ) -> str:
        """Store `size` bytes at the homeserver as they come; their mxc URI. Not tried again."""
        api: HTTPAPI = self._api.user(UserID(user))
        headers = {"Content-Type": mimetype, "Content-Length": str(size)}
        sending = api.request(
            Method.POST,
            MediaPath.v3.upload,
            pieces,
            headers=headers,
            query_params={"filename": name},
        )
        return str((await _answer(sending, UPLOAD_TIMEOUT))["content_uri"])

    async def download(self, user: str, source: str) -> AsyncGenerator[bytes, None]:
        """A file of the homeserver, given by its mxc URI, piece by piece as it comes.

        The address that wants a token first (spec 1.11); older servers know the other one.
        """
        server, _, media = source.removeprefix("mxc://").partition("/")
        if not source.startswith("mxc://") or not server or not media or "/" in media:
            raise HomeserverError("That is no address of a file")
        headers = {"Authorization": f"Bearer {self._token}"}
        last: HomeserverError | None = None
        for path in (Path.v1.media.download, MediaPath.v3.download):
            url = URL(self._server) / str(path[server][media]).lstrip("/")
            get = self._http.get(url, params={"user_id": user}, headers=headers, timeout=NO_TOTAL)
            try:
                async with get as answer:
                    if answer.status == 200:
                        async for piece in answer.content.iter_chunked(1 << 16):
                            yield piece
                        return
                    last = HomeserverError(
                        f"The homeserver refused ({answer.status})", status=answer.status
                    )
            except (aiohttp.ClientError, OSError) as exc:
                raise HomeserverError(f"The homeserver does not answer: {exc}") from exc
            if answer.status not in (400, 404, 405):
                break
        assert last is not None
        raise last

    async def largest_upload(self, user: str) -> int | None:
        """How many bytes the homeserver takes at once, if it says so."""
        # The newer of the two addresses; Conduit knows the older.
        for path in (Path.v1.media.config, MediaPath.v3.config):
            try:
                told = (await self.request(Method.GET, path, user=user)).get("m.upload.size")
            except HomeserverError as exc:
                log.info("The homeserver does not say how much may be uploaded: %s", exc)
                continue
            return told if isinstance(told, int) else None
        return None

    async def redact(self, user: str, room_id: str, event_id: str, txn: str) -> str:
        path = Path.v3.rooms[room_id].redact[event_id][txn]
        return str((await self.request(Method.PUT, path, {}, user=user)).get("event_id", ""))

    async def set_state(
        self, user: str, room_id: str, event_type: str, content: Mapping[str, Any]
    ) -> None:
        path = Path.v3.rooms[room_id].state[event_type][""]
        await self.request(Method.PUT, path, content, user=user)

    async def create_room(self, user: str, body: Mapping[str, Any]) -> str:
        """Make a room as `user`; its id."""
        return str(
            (await self.request(Method.POST, Path.v3.createRoom, body, user=user))["room_id"]
        )

    async def joined_rooms(self, user: str) -> list[str]:
        """The rooms that `user` is in."""
        answer = await self.request(Method.GET, Path.v3.joined_rooms, user=user)
        return [str(room) for room in answer.get("joined_rooms", [])]

    async def state(self, user: str, room_id: str, event_type: str) -> dict[str, Any]:
        """The content of a state event with an empty key; HomeserverError if there is none."""
        path = Path.v3.rooms[room_id].state[event_type][""]
        return dict(await self.request(Method.GET, path, user=user))

    async def join(self, user: str, room_id: str) -> None:
        await self.request(Method.POST, Path.v3.rooms[room_id].join, user=user)

    async def leave(self, user: str, room_id: str, reason: str) -> None:
        await self.request(Method.POST, Path.v3.rooms[room_id].leave, {"reason": reason}, user=user)

    async def room_state(self, user: str, room_id: str) -> list[dict[str, Any]]:
        """Every state event of a room."""
        state = await self.request(Method.GET, Path.v3.rooms[room_id].state, user=user)
        return [event for event in state if isinstance(event, dict)]

    async def typing(self, user: str, room_id: str, seconds: float) -> None:
        """Show that `user` types, for at most `seconds`; 0 takes it back."""
        body: dict[str, Any] = {"typing": seconds > 0}
        if seconds > 0:
            body["timeout"] = int(seconds * 1000)
        await self.request(Method.PUT, Path.v3.rooms[room_id].typing[user], body, user=user)

    async def read(self, user: str, room_id: str, event_id: str) -> None:
        """Send a read receipt."""
        path = Path.v3.rooms[room_id].receipt["m.read"][event_id]
        await self.request(Method.POST, path, {}, user=user)


async def _call(
    api: HTTPAPI,
    method: Method,
    path: Any,
    content: Mapping[str, Any] | None,
    query: Mapping[str, str] | None,
    timeout: float,
) -> Any:
    asked = api.request(method, path, dict(content or {}), query_params=dict(query or {}))
    return await _answer(asked, timeout)


async def _answer(asked: Awaitable[Any], timeout: float) -> Any:
    try:
        async with asyncio.timeout(timeout):
            return await asked
    except MatrixRequestError as exc:
        raise _refused(exc) from exc
    except (MatrixConnectionError, aiohttp.ClientError, OSError, TimeoutError) as exc:
        why = str(exc) or type(exc).__name__
        raise HomeserverError(f"The homeserver does not answer: {why}", retryable=True) from exc
    except ValueError as exc:
        raise HomeserverError("The homeserver's answer is not JSON", retryable=True) from exc


def _refused(exc: MatrixRequestError) -> HomeserverError:
    status, errcode = int(exc.http_status), exc.errcode or ""
    if errcode == "M_UNKNOWN_TOKEN":
        return HomeserverError(
            "The homeserver does not know our as_token: give it the registration that "
            "`memtrix-as -g` writes (Synapse reads it at its start)",
            status=status,
            errcode=errcode,
            retryable=True,
        )
    return HomeserverError(
        f"The homeserver refused ({status} {errcode}): {exc.message or exc}"[:300],
        status=status,
        errcode=errcode,
        retryable=status in RETRYABLE and errcode != "M_EXCLUSIVE",
    )


async def patiently(call: Callable[[], Awaitable[T]], tries: int = TRIES) -> T:
    """Make a request until it goes through or is refused for good.

    While the homeserver is away that may take any time. Where it is there and only this request
    fails (Conduit answers 500 to what it cannot do), `tries` are enough.
    """
    wait = 1.0
    while True:
        try:
            return await call()
        except HomeserverError as exc:
            if exc.status not in AWAY:
                tries -= 1
            if not exc.retryable or not tries:
                raise
            log.warning("%s; trying again in %.0f s", exc, wait)
        await asyncio.sleep(wait * random.uniform(0.8, 1.2))
        wait = min(wait * 2, LONGEST_WAIT)
