"""A model that costs next to nothing: it says after me, and knows when it was asked what."""

import asyncio
import json
import time
from collections.abc import Sequence

from aiohttp import web

from memtrix_as.memory.recall import END


class EchoModel:
    """Listens between `start` and `stop`; a request waits `latency` seconds for its answer."""

    def __init__(self, latency: float, pieces: int) -> None:
        self.latency, self.pieces = latency, pieces
        self.asked: dict[str, float] = {}  # what the human said -> when, on the monotonic clock
        self.said: dict[str, float] = {}
        self._delays: list[float] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    async def start(self) -> None:
        app = web.Application(client_max_size=1 << 26)
        app.router.add_post("/v1/chat/completions", self._chat)
        app.router.add_get("/v1/models", self._models)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0, backlog=4096).start()
        self._port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        await self._runner.cleanup()

    async def _models(self, _: web.Request) -> web.Response:
        return web.json_response({"data": []})

    async def _chat(self, http: web.Request) -> web.StreamResponse:
        raw = await http.read()
        arrived = time.monotonic()
        body = json.loads(raw)
        text = _last_words(body["messages"])
        self.asked.setdefault(text, arrived)
        await asyncio.sleep(self.latency - (time.monotonic() - arrived))
        words = f"You said: {text}"
        usage = {"prompt_tokens": len(raw) // 4, "completion_tokens": len(words) // 4}
        if not body.get("stream"):
            whole = {"choices": [{"message": {"role": "assistant", "content": words}}]}
            self.said[text] = time.monotonic()
            return web.json_response(whole | {"usage": usage})
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(http)
        deltas = [{"choices": [{"index": 0, "delta": {"content": piece}}]}
                  for piece in _cut(words, self.pieces)]  # fmt: skip
        end = {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}
        chunks = [*deltas, end, {"choices": [], "usage": usage}]
        lines = "".join(f"data: {json.dumps(chunk)}\n\n" for chunk in chunks)
        await response.write(lines.encode() + b"data: [DONE]\n\n")
        self.said[text] = time.monotonic()
        return response


def _last_words(messages: Sequence[dict[str, object]]) -> str:
    said = [str(m.get("content") or "") for m in messages if m.get("role") == "user"]
    return said[-1].rpartition(END)[2] if said else ""


def _cut(words: str, pieces: int) -> list[str]:
    size = -(-len(words) // pieces)
    return [words[n : n + size] for n in range(0, len(words), size)]
