"""The port that the homeserver talks to: a transaction is stored before it is acknowledged."""

import asyncio
import hmac
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import asyncpg
from aiohttp import web
from mautrix.appservice import AppService
from mautrix.appservice.state_store import ASStateStore
from mautrix.client.state_store import MemoryStateStore

from memtrix_as.config import Config
from memtrix_as.db import approvals, inbox, outbox, rooms
from memtrix_as.db.inbox import Arrival
from memtrix_as.db.pool import DOWN, Connection, Pool, clean
from memtrix_as.matrix import answers, intake, transaction
from memtrix_as.matrix.directory import Directory
from memtrix_as.matrix.event import content_of, reply_to, thread
from memtrix_as.matrix.intake import Facts

log = logging.getLogger(__name__)

MIB = 1 << 20
TRIES = 3  # to take events in before the homeserver is asked to repeat them


class _Forgetful(ASStateStore, MemoryStateStore):
    """mautrix wants a store of room state; ours is in the database, and it never asks."""

    def __init__(self) -> None:
        ASStateStore.__init__(self)
        MemoryStateStore.__init__(self)


class TransactionPort(AppService):
    """mautrix's application service with its way of taking transactions replaced.

    mautrix answers before its handlers have run, and forgets what it has seen at a restart.
    """

    def __init__(self, config: Config, store: "Store") -> None:
        service, homeserver = config.appservice, config.homeserver
        super().__init__(
            server=homeserver.address,
            domain=homeserver.domain,
            as_token=service.as_token,
            hs_token=service.hs_token,
            bot_localpart=service.bot_username,
            id=service.id,
            loop=asyncio.get_running_loop(),
            log="mau.as",
            state_store=_Forgetful(),
            aiohttp_params={
                "client_max_size": service.max_body_size * MIB,
                "middlewares": [_in_json],
            },
        )
        self.event_handlers.clear()
        self._store = store
        self._limit = service.max_body_size
        self.refused = asyncio.Event()  # the homeserver keeps something that it may not send soon
        self.taken = asyncio.Event()  # it has got rid of something: it sends again what comes

    def _stranger(self, request: web.Request) -> web.Response | None:
        """The answer to who is not the homeserver; compared in constant time, wherever the
        token stands."""
        given = request.rel_url.query.get("access_token")
        if given is None:
            given = request.headers.get("Authorization", "").removeprefix("Bearer ")
        if hmac.compare_digest(given.encode(errors="replace"), self.hs_token.encode()):
            return None
        log.warning(
            "%s %r came with a wrong hs_token from %s: is the homeserver's copy of the "
            "registration the current one?",
            request.method,
            request.path,
            request.remote,
        )
        if not given:
            return _error(401, "M_UNAUTHORIZED", "There is no hs_token")
        return _error(403, "M_FORBIDDEN", "The hs_token is wrong")

    async def _http_handle_transaction(self, request: web.Request) -> web.Response:
        if refusal := self._stranger(request):
            return refusal
        # No homeserver packs what it sends, and unpacked a little is very much.
        if request.headers.get("Content-Encoding", "identity").lower() != "identity":
            return _error(400, "M_NOT_JSON", "The body is packed")
        try:
            body = transaction.read(await request.read())
        except web.HTTPRequestEntityTooLarge:
            log.error(
                "The homeserver sent a transaction over %d MiB, which it will repeat for ever: "
                "raise appservice.max_body_size",
                self._limit,
            )
            return _error(413, "M_TOO_LARGE", "Over appservice.max_body_size")
        except (ValueError, RecursionError, web.RequestPayloadError):
            return _error(400, "M_NOT_JSON", "The body is not JSON")
        events = body.get("events") if isinstance(body, dict) else None
        if not isinstance(events, list):
            return _error(400, "M_BAD_JSON", "There is no list `events`")
        try:
            await self._store.take(events)
        except (*DOWN, asyncpg.PostgresError):
            log.exception("A transaction could not be stored; the homeserver will repeat it")
            self.refused.set()
            return _error(503, "M_UNKNOWN", "The database is away")
        self.taken.set()
        return web.json_response({})

    async def _http_ping(self, request: web.Request) -> web.Response:
        return self._stranger(request) or web.json_response({})

    async def _http_query_user(self, request: web.Request) -> web.Response:
        # Who and what we have, the homeserver has: we make our users and rooms ourselves.
        return self._stranger(request) or _error(404, "M_NOT_FOUND", "There is no such thing")

    _http_query_alias = _http_query_user


@web.middleware
async def _in_json(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """Answer also a wrong path or method as the specification says: with an errcode."""
    try:
        return await handler(request)
    except (web.HTTPNotFound, web.HTTPMethodNotAllowed) as exc:
        answer = _error(exc.status, "M_UNRECOGNIZED", exc.reason)
        if "Allow" in exc.headers:
            answer.headers["Allow"] = exc.headers["Allow"]
        return answer


def _error(status: int, errcode: str, text: str) -> web.Response:
    return web.json_response({"errcode": errcode, "error": text}, status=status)


class Store:
    """Takes events in: decides what each is, and commits all that follows at once."""

    def __init__(self, pool: Pool, directory: Directory) -> None:
        self._pool = pool
        self._directory = directory

    async def take(self, events: Sequence[Any]) -> None:
        """Store what is new among these events, in their order; all of it, or an exception.

        An event that we cannot make sense of is logged and noted, and hides no other.
        """
        known = [sound for event in events if (sound := _sound(event)) is not None]
        if len(known) < len(events):
            log.warning("%d things in a transaction are no events", len(events) - len(known))
        try:
            await self._take_whole(known)
        except DOWN:
            raise
        except asyncpg.PostgresError:
            # Something that the database will never take must not be repeated for ever.
            log.exception("A batch of events cannot be stored; trying them one by one")
            for event in known:
                try:
                    await self._take([event])
                except asyncpg.DataError:
                    log.exception("Event %s cannot be stored and is lost", event["event_id"])

    async def _take_whole(self, known: Sequence[dict[str, Any]]) -> None:
        """Take all, again where somebody wakes the same lanes in another order than we do.

        A homeserver that is told to come again may wait for long before it does.
        """
        for _ in range(TRIES):
            try:
                return await self._take(known)
            except asyncpg.DeadlockDetectedError as exc:
                log.info("Taking %d events in once more: %s", len(known), exc)
        await self._take(known)

    async def _take(self, known: Sequence[dict[str, Any]]) -> None:
        if not known:
            return
        async with rooms.intake(self._pool) as connection:
            new, version = await rooms.note(connection, [e["event_id"] for e in known])
            if not new:
                return
            await self._directory.see(version, connection)
            fresh = []
            for event in known:
                if event["event_id"] in new:
                    new.discard(event["event_id"])
                    fresh.append(event)
            await self.route(connection, fresh)

    async def route(self, connection: Connection, events: Sequence[Mapping[str, Any]]) -> None:
        """Decide about events in order, and write what follows; intake is locked."""
        if not events:
            return
        world = self._directory.world()
        # Most of our own words coming back, which is every second event, ask nothing of their room.
        places = {
            e["room_id"] for e in events
            if not intake.is_echo(e, world) or intake.handing_on(e, world) is not None
        }  # fmt: skip
        view = await rooms.load(connection, places) if places else {}
        # First of all, so that an answer finds the question that came with it.
        echoes = [(*echo, str(e["event_id"])) for e in events if (echo := intake.echo(e, world))]
        await outbox.echoed(connection, echoes)
        facts = Facts(
            *await rooms.speakers(connection, list(places), *_references(events)),
            await _questions(connection, events),
        )
        arrivals: list[Arrival] = []
        members: dict[tuple[str, str], str | None] = {}
        gone: dict[tuple[str, str], None] = {}
        for event in events:
            room_id = str(event["room_id"])
            room = view.get(room_id) or rooms.Room(room_id)
            try:
                decision = intake.decide(event, room, world, facts)
            except Exception:  # one event that breaks us must not hold back its neighbours
                log.exception("Event %s is malformed and was passed over", event["event_id"])
                continue
            arrivals += decision.arrivals
            if decision.joined:
                user, name = decision.joined
                members[room_id, user] = name
                gone.pop((room_id, user), None)
            if decision.left:
                gone[room_id, decision.left] = None
                members.pop((room_id, decision.left), None)
            if decision.joined or decision.left:
                view[room_id] = intake.after(room, decision, world)
        await rooms.apply(
            connection,
            rooms.Changes(
                [(*key, name) for key, name in members.items() if view[key[0]].agents],
                list(gone),
            ),
        )
        await inbox.put(connection, arrivals)


def _sound(event: Any) -> dict[str, Any] | None:
    """The event in characters that can be stored; None for what is none."""
    if not isinstance(event, dict) or not all(
        isinstance(event.get(key), str) and 0 < len(event[key]) <= 512
        for key in ("event_id", "room_id", "type", "sender")
    ):
        return None
    try:
        return dict(clean(event))
    except RecursionError:
        return None


async def _questions(
    connection: Connection, events: Sequence[Mapping[str, Any]]
) -> Sequence[approvals.Question]:
    """The questions that may be meant; most messages are no answer, and ask nothing here."""
    rooms = {str(e["room_id"]) for e in events if answers.may_answer(e)}
    if not rooms:
        return ()
    contents = [content_of(event) for event in events]
    meant = {*map(answers.target, contents), *map(reply_to, contents)}
    return await approvals.questions(connection, sorted(rooms), [m for m in meant if m])


def _references(events: Sequence[Mapping[str, Any]]) -> tuple[list[str], list[str]]:
    """The events that these reply to, and the roots of the threads that they stand in."""
    contents = [content_of(event) for event in events]
    replies = {reply_to(content) for content in contents}
    roots = {thread(content) for content in contents}
    return [r for r in replies if r], [r for r in roots if r]
