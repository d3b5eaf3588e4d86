"""The Matrix client-server API as a test speaks it: one call, one answer, no library."""

from typing import Any

import aiohttp

Json = dict[str, Any]


class Refused(AssertionError):
    """The homeserver answered with an error that the test did not expect."""

    def __init__(self, status: int, path: str, body: Json) -> None:
        super().__init__(f"HTTP {status} for {path}: {body}")
        self.status = status
        self.errcode = body.get("errcode", "")


class Api:
    """Speaks to `base` with `token`; an application service also names the user it acts as."""

    def __init__(self, http: aiohttp.ClientSession, base: str, token: str | None = None) -> None:
        self.http, self.base, self.token = http, base, token

    def as_user(self, token: str) -> "Api":
        return Api(self.http, self.base, token)

    async def call(
        self,
        method: str,
        path: str,
        body: Json | bytes | None = None,
        /,
        *,
        content_type: str | None = None,
        **params: str,
    ) -> Json:
        """`path` starts after `/_matrix/client/v3`, or is a whole one that starts with `/_`."""
        if not path.startswith("/_"):
            path = f"/_matrix/client/v3{path}"
        headers = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        if content_type:
            headers["Content-Type"] = content_type
        payload: Json = {"data": body} if isinstance(body, bytes) else {"json": body or {}}
        if body is None and method in ("GET", "DELETE"):
            payload = {}
        async with self.http.request(
            method, self.base + path, params=params, headers=headers, **payload
        ) as response:
            answer = await response.json(content_type=None) or {}
            if response.status >= 400:
                raise Refused(response.status, path, answer)
            return answer
