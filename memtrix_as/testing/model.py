"""The scripted model's HTTP server: OpenAI's protocol, a gate, and a record of what was asked."""

import asyncio
import json
from collections.abc import Callable, Mapping
from typing import Any, Self

from aiohttp import web

from memtrix_as.testing.ollama import OllamaSide
from memtrix_as.testing.script import Reply, Request, Script

_MEANINGS = {
    400: "The request is invalid.",
    401: "Incorrect API key provided.",
    402: "Insufficient credits.",
    404: "The model does not exist.",
    429: "Rate limit reached.",
    500: "Internal server error.",
    503: "The server is overloaded.",
}


class ScriptedModel(Script):
    """The server; `url` is its address once it has started, and stays the same ever after."""

    def __init__(self, port: int = 0) -> None:
        super().__init__()
        self.default = lambda request: f"You said: {request.last_user}"
        self.requests: list[Request] = []
        self.in_flight = 0
        self.peak_in_flight = 0
        self.disconnects = 0  # clients that went away before the end
        self.ollama = OllamaSide()
        self._port = port
        self._bound: list[Script] = []
        self._runner: web.AppRunner | None = None
        self._gate = asyncio.Event()
        self._gate.set()
        self._released = asyncio.Event()
        self._changed = asyncio.Event()

    @property
    def url(self) -> str:
        """The address without /v1; with it, it works as well."""
        return f"http://127.0.0.1:{self._port}"

    @property
    def open(self) -> int:
        return self.in_flight

    async def start(self) -> None:
        app = web.Application(client_max_size=1 << 28)
        app.router.add_post("/v1/chat/completions", self._chat)
        app.router.add_get("/v1/models", self._models)
        app.router.add_post("/_script", self._take_script)
        self.ollama.add_to(app.router)
        # handler_cancellation: only so does a client that goes away end what waits for it
        runner = web.AppRunner(
            app, handler_cancellation=True, access_log=None, shutdown_timeout=0.1
        )
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", self._port, backlog=1024)
        await site.start()
        self._port = runner.addresses[0][1]
        self._runner = runner

    async def stop(self) -> None:
        """Refuse connections from now on; start() opens the same port again."""
        if self._runner:
            runner, self._runner = self._runner, None
            await runner.cleanup()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.stop()

    def on(self, what: str | Callable[[Request], bool]) -> Script:
        """A script of its own for requests whose last user message contains `what`."""
        fits = (lambda r: what in r.last_user) if isinstance(what, str) else what
        script = Script(fits)
        self._bound.append(script)
        return script

    when = on

    def hold(self) -> None:
        """Let requests come in and wait; which reply they get is decided at release()."""
        self._gate.clear()

    def release(self) -> None:
        """Let go whatever waits: at the gate, in `hangs`, at the end of `hold=True`."""
        self._gate.set()
        self._released.set()
        self._released = asyncio.Event()

    def forget(self) -> None:
        """Drop what is queued and what was asked; defaults stay."""
        self.requests.clear()
        for script in (self, *self._bound):
            script.queue.clear()

    async def wait_for_requests(self, count: int, timeout: float = 20.0) -> None:
        """Return when so many requests have come, answered or not; else TimeoutError."""
        async with asyncio.timeout(timeout):
            while len(self.requests) < count:
                await self._changed.wait()

    asked = wait_for_requests

    async def wait_for_disconnects(self, count: int, timeout: float = 10.0) -> None:
        """Return when so many clients have gone away before the end; else TimeoutError."""
        async with asyncio.timeout(timeout):
            while self.disconnects < count:
                await self._changed.wait()

    def _change(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    async def _chat(self, http: web.Request) -> web.StreamResponse:
        request = Request(await http.json(), dict(http.headers))
        self.ollama.load(request.model)
        self.requests.append(request)
        self.in_flight += 1
        self.peak_in_flight = max(self.peak_in_flight, self.in_flight)
        self._change()
        try:
            if not self._gate.is_set():
                await self._gate.wait()
                for _ in range(3):  # a client that is gone must not use up a reply
                    await asyncio.sleep(0)
            return await self._answer(http, request, self._choose(request))
        except asyncio.CancelledError:
            self.disconnects += 1
            raise
        except ConnectionError:
            self.disconnects += 1
            return web.Response()  # to nobody
        finally:
            self.in_flight -= 1
            self._change()

    def _choose(self, request: Request) -> Reply:
        for script in (*self._bound, self):
            if reply := script.reply(request):
                return reply
        return Reply(["I have nothing to say."])

    async def _answer(
        self, http: web.Request, request: Request, reply: Reply
    ) -> web.StreamResponse:
        released = self._released
        if reply.hang:
            await released.wait()
        if reply.after:
            await asyncio.sleep(reply.after)
        if reply.status != 200 or reply.body is not None:
            return _failure(reply)
        if not request.body.get("stream"):
            if reply.hold:
                await released.wait()
            return web.json_response(_whole(request, reply))
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(http)
        if reply.raw is not None:
            for line in reply.raw:
                await response.write(line.encode("utf-8", "surrogatepass") + b"\n")
            return response
        await self._stream(response, request, reply, released)
        if reply.cut == "reset" and http.transport:
            await asyncio.sleep(0.01)  # so that what was written arrives before the reset
            http.transport.abort()
        return response

    async def _stream(
        self, response: web.StreamResponse, request: Request, reply: Reply, end: asyncio.Event
    ) -> None:
        async def send(delta: Mapping[str, Any], finish: str | None = None) -> None:
            choice = {"index": 0, "delta": delta, "finish_reason": finish}
            chunk = _frame(request, "chat.completion.chunk") | {"choices": [choice]}
            await response.write(f"data: {json.dumps(chunk)}\n\n".encode())

        if reply.reasoning:
            await send({"role": "assistant", "reasoning": reply.reasoning})
        for n, piece in enumerate(reply.pieces):
            if n and reply.delay:
                await asyncio.sleep(reply.delay)
            await send({"role": "assistant", "content": piece})
        if reply.cut:
            return
        for n, call in enumerate(_wire_calls(reply)):
            await send({"tool_calls": [{"index": n, **call}]})
        if reply.hold:
            await end.wait()
        await send({}, reply.finish)
        last = _frame(request, "chat.completion.chunk") | {"choices": []}
        if usage := _usage(request, reply):
            last["usage"] = usage
        await response.write(f"data: {json.dumps(last)}\n\ndata: [DONE]\n\n".encode())

    async def _models(self, http: web.Request) -> web.Response:
        data = [{"id": name, "object": "model"} for name in self.ollama.models]
        return web.json_response({"object": "list", "data": data})

    async def _take_script(self, http: web.Request) -> web.Response:
        verbs = {"says", "calls", "fails", "hangs", "breaks", "says_nothing", "by_default"}
        for verb, *arguments in await http.json():
            if verb not in verbs:
                raise web.HTTPBadRequest(text=f"no such verb: {verb}")
            getattr(self, verb)(*arguments)
        return web.json_response({"queued": len(self.queue), "asked": len(self.requests)})


def _frame(request: Request, kind: str) -> dict[str, Any]:
    return {"id": "chatcmpl-scripted", "object": kind, "created": 0, "model": request.model}


def _wire_calls(reply: Reply) -> list[dict[str, Any]]:
    return [
        {"id": f"call_{n}", "type": "function", "function": {"name": name, "arguments": raw}}
        for n, (name, raw) in enumerate(reply.calls)
    ]


def _usage(request: Request, reply: Reply) -> dict[str, Any]:
    """What the reply says, else some four characters make a token."""
    if reply.usage is not None:
        return dict(reply.usage)
    asked, said = len(json.dumps(request.messages)) // 4, len(reply.text) // 4
    return {"prompt_tokens": asked, "completion_tokens": said, "total_tokens": asked + said}


def _whole(request: Request, reply: Reply) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": reply.text or None}
    if reply.reasoning:
        message["reasoning"] = reply.reasoning
    if reply.calls:
        message["tool_calls"] = _wire_calls(reply)
    choice = {"index": 0, "message": message, "finish_reason": reply.finish}
    frame = _frame(request, "chat.completion")
    return frame | {"choices": [choice], "usage": _usage(request, reply)}


def _failure(reply: Reply) -> web.Response:
    body = reply.body
    if body is None or (isinstance(body, str) and not body.startswith("<")):
        message = body or _MEANINGS.get(reply.status, "Something went wrong.")
        body = {"error": {"message": message, "type": "error", "code": None}}
    headers = {} if reply.retry_after is None else {"Retry-After": f"{reply.retry_after:g}"}
    if isinstance(body, str):
        return web.Response(
            text=body, status=reply.status, headers=headers, content_type="text/html"
        )
    return web.json_response(body, status=reply.status, headers=headers)
