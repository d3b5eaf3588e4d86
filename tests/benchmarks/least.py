"""The least agent that is possible, to compare with: the text to the model, its answer back.

    python -m tests.benchmarks.least HOMESERVER TOKEN MODEL

An ordinary user with a sync loop: no memory, no order, no second try; what dies with it is lost.
"""

import asyncio
import json
import sys
from itertools import count
from typing import Any

import aiohttp

FILTER = {"presence": {"types": []}, "room": {"timeline": {"types": ["m.room.message"]}}}


class Least:
    def __init__(self, http: aiohttp.ClientSession, base: str, token: str, model: str) -> None:
        self._http, self._model = http, model
        self._base = f"{base}/_matrix/client/v3"
        self._headers = {"Authorization": f"Bearer {token}"}
        self._numbers = count()
        self._answering: set[asyncio.Task[None]] = set()

    async def call(self, method: str, path: str, body: Any = None, **params: str) -> Any:
        async with self._http.request(
            method, self._base + path, json=body, params=params, headers=self._headers
        ) as answer:
            return await answer.json()

    async def run(self) -> None:
        me = (await self.call("GET", "/account/whoami"))["user_id"]
        query = {"filter": json.dumps(FILTER), "timeout": "0"}
        while True:
            seen = await self.call("GET", "/sync", **query)
            rooms, first = seen.get("rooms", {}), "since" not in query
            query |= {"since": seen["next_batch"], "timeout": "30000"}
            for room in rooms.get("invite", {}):
                await self.call("POST", f"/rooms/{room}/join", {})
            for room, part in () if first else rooms.get("join", {}).items():
                for event in part["timeline"]["events"]:
                    if event["sender"] != me:
                        answer = asyncio.create_task(self.answer(room, event["content"]["body"]))
                        self._answering.add(answer)
                        answer.add_done_callback(self._answering.discard)

    async def answer(self, room: str, text: str) -> None:
        body = {"model": "scripted", "messages": [{"role": "user", "content": text}]}
        async with self._http.post(f"{self._model}/v1/chat/completions", json=body) as answer:
            said = (await answer.json())["choices"][0]["message"]["content"]
        path = f"/rooms/{room}/send/m.room.message/l{next(self._numbers)}"
        await self.call("PUT", path, {"msgtype": "m.text", "body": said})


async def main(base: str, token: str, model: str) -> None:
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as http:
        await Least(http, base, token, model).run()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
