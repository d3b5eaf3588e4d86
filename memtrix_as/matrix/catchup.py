"""After a downtime: get what the homeserver has kept for us, or look for it ourselves."""

import asyncio
import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

from mautrix.api import Method, Path

from memtrix_as.config import Config
from memtrix_as.db import rooms
from memtrix_as.db.agents import Agent
from memtrix_as.db.pool import Pool
from memtrix_as.errors import HomeserverError
from memtrix_as.matrix.appservice import Store
from memtrix_as.matrix.client import Client, patiently

log = logging.getLogger(__name__)

# Their queue for us survives, is in order, and is sent at once when we ping
# (Synapse >= 1.132: synapse/rest/client/appservice_ping.py).
FLUSHED_BY_PING = {"synapse", "tuwunel"}
# Synapse stores what it finds to send between "nothing is left" and "the service is up again"
# (synapse/appservice/scheduler.py, _Recoverer.retry), and sends that with the next recovery only.
SETTLED = 2.0  # seconds after which it is either sent or left behind
# A push to us as we were before may fail only after our ping. Then its first try of a recovery is
# two seconds later (_Recoverer.recover), when we have looked already.
ONCE_MORE = 6.0  # seconds from the first look to the second
TOLD_LATE = timedelta(days=7)
LATELY = 60.0  # seconds before our look in which that can have happened
LOOKS = 4
PAGES = 20  # of 50 events, at most, back in one room
SYNC_TIMEOUT = 300.0  # seconds: the first one is long for who is in many rooms
FILTER = {
    "presence": {"types": []},
    "account_data": {"types": []},
    "room": {
        "timeline": {"limit": 50},
        "state": {"types": []},
        "ephemeral": {"types": []},
        "account_data": {"types": []},
    },
}


class CatchUp:
    """Finds the events that were not pushed.

    Conduit tries a failed push again only when the next event comes, and waits ever longer
    before it does (conduit/src/service/sending). A real token of each agent shows what there is;
    it is got, used and given back here.
    """

    def __init__(self, config: Config, client: Client, store: Store, pool: Pool) -> None:
        self._config = config
        self._client = client
        self._store = store
        self._pool = pool

    @property
    def pauses(self) -> Iterator[float]:
        """Seconds between further looks.

        What comes while Conduit's back-off lasts (30 s times the square of the tries) is not
        pushed before a later event, which may be long in coming.
        """
        homeserver = self._config.homeserver
        if self.pushes_all_or_none:
            for tries in range(1, LOOKS + 1):
                yield homeserver.push_back_off * tries**2 + SETTLED
        else:
            yield ONCE_MORE

    @property
    def pushes_all_or_none(self) -> bool:
        """Whether something that is pushed shows that nothing is kept back any more."""
        return self._config.homeserver.software not in FLUSHED_BY_PING

    async def run(self, everyone: Sequence[Agent], *, again: bool = False) -> None:
        """Take in what was missed; problems are logged, since live events come all the same.

        `again`: soon after the last look, so that only rooms are looked at.
        """
        bot = everyone[0].user_id
        try:
            await patiently(lambda: self._ping(bot))
        except HomeserverError as exc:
            log.error(
                "The homeserver cannot reach us at %s: %s", self._config.appservice.address, exc
            )
        since = None
        if not self.pushes_all_or_none:
            since = datetime.now(UTC) - timedelta(seconds=LATELY)
            await asyncio.sleep(SETTLED)
        if not await rooms.any_events(self._pool):
            return  # a first start: what was said before is not for us to answer
        # What they may have left behind is in rooms; each agent asked costs three requests.
        busy = await rooms.users_in_rooms(self._pool)
        for agent in everyone:
            if (again or since) and not agent.main and agent.user_id not in busy:
                continue
            try:
                await self._look(agent.user_id, since)
            except HomeserverError as exc:
                log.warning("Cannot see what %s has missed: %s", agent.user_id, exc)

    async def _ping(self, user: str) -> None:
        path = Path.v1.appservice[self._config.appservice.id].ping
        await self._client.request(Method.POST, path, {"transaction_id": uuid4().hex}, user=user)

    async def _look(self, user: str, since: datetime | None) -> None:
        """Take in what was missed: since `since`, else all after what we have seen last."""
        token = await patiently(lambda: self._client.login(user))
        try:
            query = {"timeout": "0", "filter": json.dumps(FILTER)}
            seen = await self._client.ask(token, Path.v3.sync, query, SYNC_TIMEOUT)
            found = list(_invites(seen, user))
            for room_id, room in _section(seen, "join").items():
                timeline = room.get("timeline", {})
                if since is None:
                    found += await self._missed(token, room_id, timeline)
                else:
                    found += await self._left_behind(room_id, timeline.get("events", []), since)
        finally:
            await self._client.logout(token)
        late = [e for e in found if e.get("origin_server_ts", 0) >= self._oldest]
        if late:
            log.info("Looking at %d events that came while we were away", len(late))
            await self._store.take(late)

    @property
    def _oldest(self) -> float:
        """When an event must have been sent to be taken in; as homeservers tell it, in ms.

        What is too late to be answered is told so, for some days.
        """
        kept = timedelta(hours=self._config.limits.catch_up_hours) + TOLD_LATE
        return (datetime.now(UTC) - kept).timestamp() * 1000

    async def _missed(
        self, token: str, room_id: str, timeline: Mapping[str, Any]
    ) -> list[dict[str, Any]]:
        """The events at the end of a room's timeline that we have not seen, oldest first."""
        events = list(timeline.get("events", []))
        start = timeline.get("prev_batch")
        for _ in range(PAGES):
            ids = [e.get("event_id", "") for e in events]
            if not timeline.get("limited") or await rooms.seen(self._pool, ids) or not start:
                break
            if events and events[0].get("origin_server_ts", 0) < self._oldest:
                break  # what is before it is not taken in
            query = {"dir": "b", "limit": "50", "from": str(start)}
            page = await self._client.ask(token, Path.v3.rooms[room_id].messages, query)
            if not page.get("chunk"):
                break
            events = [*reversed(page["chunk"]), *events]
            start = page.get("end")
        known = await rooms.seen(self._pool, [e.get("event_id", "") for e in events])
        last = max((i for i, e in enumerate(events) if e.get("event_id") in known), default=-1)
        return [{**event, "room_id": room_id} for event in events[last + 1 :]]

    async def _left_behind(
        self, room_id: str, events: Sequence[Mapping[str, Any]], since: datetime
    ) -> list[dict[str, Any]]:
        """The events since then that we have not seen, whatever came after them."""
        oldest = since.timestamp() * 1000
        late = [event for event in events if event.get("origin_server_ts", 0) >= oldest]
        known = await rooms.seen(self._pool, [event.get("event_id", "") for event in late])
        missed = [event for event in late if event.get("event_id") not in known]
        return [{**event, "room_id": room_id} for event in missed]


def _section(seen: Mapping[str, Any], name: str) -> dict[str, Any]:
    return dict(seen.get("rooms", {}).get(name, {}))


def _invites(seen: Mapping[str, Any], user: str) -> Iterator[dict[str, Any]]:
    """Open invitations; their state is stripped of event ids, and joining twice does no harm."""
    for room_id, room in _section(seen, "invite").items():
        for event in room.get("invite_state", {}).get("events", []):
            if event.get("type") == "m.room.member" and event.get("state_key") == user:
                now = int(datetime.now(UTC).timestamp() * 1000)
                made = {"event_id": f"$invite-{uuid4().hex}", "origin_server_ts": now}
                yield {**event, **made, "room_id": room_id}
