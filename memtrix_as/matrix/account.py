"""A human's account at the homeserver, logged in for a moment to do something in their name."""

import time
from collections.abc import Mapping
from typing import Any, Self
from urllib.parse import quote

import aiohttp

from memtrix_as.errors import HomeserverError

TIMEOUT = aiohttp.ClientTimeout(total=30.0)  # seconds
DEVICE = "memtrix-as register"
TOKEN_STAGE, NO_STAGE = "m.login.registration_token", "m.login.dummy"


class Account:
    """Logged in within `async with`, and logged out at its end; HomeserverError as `call`."""

    def __init__(self, address: str, user: str, password: str) -> None:
        """`user` is a full id or the part before the colon."""
        self._address, self.user, self._password = address, user, password
        self._http = aiohttp.ClientSession(timeout=TIMEOUT)
        self._token = ""
        self._numbers = 0

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        try:
            if self._token:  # a token that is left behind opens the account to whoever finds it
                await self.call("POST", "logout")
        finally:
            await self._http.close()

    async def login(self) -> None:
        body = {
            "type": "m.login.password",
            "identifier": {"type": "m.id.user", "user": self.user},
            "password": self._password,
            "initial_device_display_name": DEVICE,
        }
        try:
            self._logged_in(await self.call("POST", "login", body))
        except HomeserverError as exc:
            if exc.errcode == "M_FORBIDDEN":
                raise HomeserverError(
                    f"The homeserver does not let {self.user} in: wrong name or password."
                ) from exc
            raise

    async def create(self, registration_token: str) -> None:
        """Make the account: the first of a new Conduit becomes its administrator.

        Client-server API, "User-Interactive Authentication": a first request to learn what is
        asked for, a second with that.
        """
        body: dict[str, Any] = {
            "username": self.user.lstrip("@").partition(":")[0],
            "password": self._password,
            "initial_device_display_name": DEVICE,
        }
        status, told = await self._ask("POST", "register", body)
        if status == 401 and "flows" in told:
            body["auth"] = _stage(told, registration_token)
            status, told = await self._ask("POST", "register", body)
        if status == 401 and "completed" in told:
            raise HomeserverError("The homeserver does not accept this registration token.")
        if status != 200:
            raise _refused(f"an account {body['username']}", status, told)
        self._logged_in(told)

    def _logged_in(self, told: Mapping[str, Any]) -> None:
        self.user, self._token = str(told["user_id"]), str(told["access_token"])

    async def call(
        self, method: str, path: str, body: Mapping[str, Any] | None = None, **query: str
    ) -> dict[str, Any]:
        """The answer's JSON; `path` is below /_matrix/client/v3."""
        status, told = await self._ask(method, path, body, **query)
        if status != 200:
            raise _refused(path.split("/")[0], status, told)
        return told

    async def _ask(
        self, method: str, path: str, body: Mapping[str, Any] | None = None, **query: str
    ) -> tuple[int, dict[str, Any]]:
        return await ask(
            self._http, method, f"{self._address}/_matrix/client/v3/{path}", self._token, body,
            query,
        )  # fmt: skip

    async def send(self, room: str, text: str) -> str:
        """Say something in a room; the event's id."""
        body = {"msgtype": "m.text", "body": text}
        path = f"rooms/{quote(room)}/send/m.room.message/{self._transaction()}"
        return str((await self.call("PUT", path, body))["event_id"])

    async def redact(self, room: str, event: str) -> None:
        path = f"rooms/{quote(room)}/redact/{quote(event)}/{self._transaction()}"
        await self.call("PUT", path, {})

    def _transaction(self) -> str:
        self._numbers += 1
        return f"memtrix{time.time_ns()}.{self._numbers}"


def _stage(told: Mapping[str, Any], registration_token: str) -> dict[str, Any]:
    """The one stage that we can pass, of the flows that the homeserver offers."""
    flows = [flow.get("stages", []) for flow in told["flows"]]
    session = {"session": told.get("session", "")}
    if [TOKEN_STAGE] in flows or [TOKEN_STAGE, NO_STAGE] in flows:
        if not registration_token:
            raise HomeserverError(
                "The homeserver wants a registration token for a new account: "
                "name the file that holds it with --token-from."
            )
        return {"type": TOKEN_STAGE, "token": registration_token, **session}
    if [NO_STAGE] in flows:
        return {"type": NO_STAGE, **session}
    raise HomeserverError(
        "The homeserver wants more for a new account than can be done here; "
        "make it with a Matrix client, and run this again without --create."
    )


async def ask(
    http: aiohttp.ClientSession,
    method: str,
    url: str,
    token: str,
    body: Mapping[str, Any] | None = None,
    query: Mapping[str, str] | None = None,
) -> tuple[int, dict[str, Any]]:
    """One request as it is, its status and JSON; HomeserverError if nothing answers in JSON."""
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    sent = None if method == "GET" else dict(body or {})
    try:
        async with http.request(method, url, json=sent, params=query, headers=headers) as answer:
            told = await answer.json(content_type=None)
            return answer.status, told if isinstance(told, dict) else {}
    except (aiohttp.ClientError, OSError, TimeoutError) as exc:
        why = str(exc) or "no answer in time"
        raise HomeserverError(f"The homeserver does not answer: {why}", retryable=True) from exc
    except ValueError as exc:
        raise HomeserverError(
            f"What answers at {url.split('/_matrix')[0]} is no homeserver: it speaks no JSON."
        ) from exc


def _refused(what: str, status: int, told: Mapping[str, Any]) -> HomeserverError:
    errcode = str(told.get("errcode", ""))
    return HomeserverError(
        f"The homeserver refused {what} ({status} {errcode}): {told.get('error', 'no reason')}",
        status=status,
        errcode=errcode,
    )
