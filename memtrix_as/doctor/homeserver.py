"""The homeserver: whether it answers, is the one that is meant, knows us, and reaches us."""

import asyncio
import time
from collections.abc import Iterator
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import aiohttp

from memtrix_as.config import Config
from memtrix_as.doctor.check import Ailing, Check
from memtrix_as.doctor.door import Door
from memtrix_as.matrix import registration

CLIENT = "/_matrix/client"
WHOAMI = f"{CLIENT}/v3/account/whoami"
APART = 30.0  # seconds between two clocks from which on it is worth a word

# How each homeserver takes a registration.
GIVE = {
    "synapse": "name the file in app_service_config_files of homeserver.yaml and restart Synapse",
    "conduit": "in its admin room send `@conduit:{domain}: register-appservice` with the file's "
    "contents below, between two lines of three backticks",
    "tuwunel": "in its admin room send `!admin appservices register` with the file's contents",
    "continuwuity": "in its admin room send `!admin appservices register` with the file's contents",
}


@dataclass(frozen=True, slots=True)
class Answer:
    """What the homeserver said."""

    status: int
    body: dict[str, Any]
    date: str | None

    @property
    def errcode(self) -> str:
        return str(self.body.get("errcode", ""))

    @property
    def error(self) -> str:
        return str(self.body.get("error", ""))[:200]

    def told(self) -> str:
        return f"it answered {self.status} {self.errcode} {self.error}".strip()


STALE = 6  # connections that a homeserver may have kept from before a restart


class Homeserver:
    """What can be asked of the homeserver with the tokens of the configuration."""

    def __init__(self, config: Config, path: Path, http: aiohttp.ClientSession, door: Door) -> None:
        self._config, self._http, self._door = config, http, door
        self._address, self._domain = config.homeserver.address, config.homeserver.domain
        service = config.appservice
        self.bot = f"@{service.bot_username}:{self._domain}"
        made = service.username_template.format(name="doctor")
        self._sub_agent = f"@{made}:{self._domain}"
        self._apart = 0.0
        self._bot_there = False
        give = GIVE[config.homeserver.software].format(domain=self._domain)
        file = registration.beside(path)
        made_anew = f"memtrix-as -g -c {path} -r {file}"
        self._register = f"{made_anew}, then give it to the homeserver: {give}"

    def checks(self) -> Iterator[Check]:
        slow = "see whether the homeserver is overloaded, or correct homeserver.address"
        yield Check("homeserver", self._answers, patience=6, fix=slow)
        yield Check("clock", self._clock, ("homeserver",))
        yield Check("registration", self._known, ("homeserver",), patience=6, fix=slow)
        yield Check("domain", self._named, ("registration",), patience=6, fix=slow)
        yield Check("user names", self._namespace, ("registration", "domain"), patience=6, fix=slow)
        yield Check("port", self._door.listen, patience=6)
        yield Check(
            "way to us", self._reaches, ("registration", "user names", "port"), patience=8,
            fix=f"let the homeserver reach {self._config.appservice.address}",
        )  # fmt: skip

    async def ask(
        self, path: str, *, body: Any = None, token: bool = True, user: str = ""
    ) -> Answer:
        """GET, or POST `body`; Ailing if nothing answers."""
        headers, query = {}, {"user_id": user} if user else {}
        if token:
            headers["Authorization"] = f"Bearer {self._config.appservice.as_token}"
        method = "GET" if body is None else "POST"
        try:
            async with self._http.request(
                method, self._address + path, json=body, params=query, headers=headers,
                allow_redirects=False,
            ) as got:  # fmt: skip
                data = await got.json(content_type=None)
        except ValueError:
            return Answer(got.status, {}, got.headers.get("Date"))
        except (aiohttp.ClientError, OSError) as exc:
            raise Ailing(
                f"nothing answers at {self._address} ({exc})",
                "start the homeserver, or correct homeserver.address",
            ) from exc
        return Answer(got.status, data if isinstance(data, dict) else {}, got.headers.get("Date"))

    async def _answers(self) -> str:
        before = time.time()
        got = await self.ask(f"{CLIENT}/versions", token=False)
        if got.date:
            try:
                there = parsedate_to_datetime(got.date).timestamp() + 0.5  # it has whole seconds
                self._apart = (before + time.time()) / 2 - there
            except ValueError:
                pass
        versions = got.body.get("versions")
        if got.status != 200 or not versions:
            raise Ailing(
                f"what answers at {self._address} is no homeserver ({got.status})",
                "correct homeserver.address: scheme, host and port of the client API, no path",
            )
        return f"{self._address} answers, and speaks Matrix {versions[-1]}"

    async def _clock(self) -> str:
        if abs(self._apart) > APART:
            way = "ahead of" if self._apart > 0 else "behind"
            raise Ailing(
                f"this machine's clock is {abs(self._apart):.0f} s {way} the homeserver's",
                "set both clocks by NTP (timedatectl set-ntp true)", "warn",
            )  # fmt: skip
        return "this machine and the homeserver agree about the time"

    async def _known(self) -> str:
        got = await self.ask(WHOAMI)
        if got.status == 401 or got.errcode == "M_UNKNOWN_TOKEN":
            raise Ailing("the homeserver does not know our as_token", self._register)
        if got.status >= 500 or got.status == 404:
            raise Ailing(f"the homeserver cannot say who we are: {got.told()}",
                         "look into the homeserver's log")  # fmt: skip
        return "the homeserver takes our as_token"

    async def _named(self) -> str:
        got = await self.ask(WHOAMI)
        name = str(got.body.get("user_id", "")).partition(":")[2]
        if not name:  # Conduit, before our own user is there; the federation API may tell
            told = await self.ask("/_matrix/key/v2/server", token=False)
            name = str(told.body.get("server_name", ""))
        if not name:
            return f"not told before the first start; {self._domain} is taken for granted"
        if name != self._domain:
            raise Ailing(
                f"the homeserver at {self._address} is {name}, and not {self._domain}",
                f"set homeserver.domain to {name}, or homeserver.address to the server of "
                f"{self._domain}; then {self._register}",
            )
        return f"the homeserver is {name}"

    async def _namespace(self) -> str:
        for user in (self.bot, self._sub_agent):
            got = await self.ask(WHOAMI, user=user)
            if got.errcode == "M_EXCLUSIVE" or "masquerade" in got.error:
                raise Ailing(
                    f"the homeserver's copy of the registration does not give us {user}",
                    self._register,
                )
            if user == self.bot:
                self._bot_there = got.status == 200
        new = "" if self._bot_there else ", which the first start will make"
        return f"{self.bot}{new}, and {self._sub_agent.replace('doctor', '…')} are ours"

    async def _ping(self) -> Answer:
        service = self._config.appservice
        return await self.ask(
            f"{CLIENT}/v1/appservice/{service.id}/ping",
            body={"transaction_id": uuid4().hex},
            user=self.bot if self._bot_there else "",
        )

    async def _reaches(self) -> str:
        service = self._config.appservice
        got = await self._ping()
        for _ in range(STALE):
            # Synapse may have taken a connection to a service that has been restarted since.
            if got.status != 502 or self._door.strange_token:
                break
            await asyncio.sleep(0.2)
            got = await self._ping()
        if got.status == 200:
            return f"the homeserver reaches us at {service.address}"
        if self._door.strange_token or got.body.get("status") == 403:
            raise Ailing("the homeserver's copy of the registration has another hs_token",
                         self._register)  # fmt: skip
        if got.errcode == "M_UNRECOGNIZED" or got.status in (404, 405):
            raise Ailing("this homeserver cannot be asked to call us", "update it", "warn")
        if got.errcode == "M_URL_NOT_SET":
            raise Ailing("the registration at the homeserver has no url", self._register)
        if got.errcode == "M_FORBIDDEN" and not self._bot_there:
            raise Ailing("can be tried after the first start", "", "skipped")
        if got.errcode == "M_FORBIDDEN":
            raise Ailing(f"the homeserver knows us by another id: {got.told()}", self._register)
        raise Ailing(
            f"the homeserver does not reach us at the address that it knows: {got.told()}",
            f"let it reach {service.address} (in containers: by our service's name, and "
            f"appservice.hostname 0.0.0.0); if it knows another address, {self._register}",
        )
