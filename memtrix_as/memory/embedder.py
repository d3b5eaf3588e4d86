"""Embeddings: text into vectors of unit length, by a model of our own or over HTTP."""

import array
import asyncio
import importlib.util
import json
import math
import os
import sys
from collections.abc import Sequence
from typing import Any, Protocol

import aiohttp

from memtrix_as.config import Config, child_environment
from memtrix_as.errors import (
    ConfigError,
    ModelBroken,
    ModelError,
    ModelRefused,
    ModelTimeout,
    ModelUnreachable,
)

Vector = Sequence[float]

BATCH = 8  # texts at once: a question waits for one batch at most
QUIET = 600.0  # seconds that one batch may take
LARGEST = 32 << 20  # bytes of an answer

# Models that were trained with words before the text, and are much worse without them.
PREFIXES = {
    "nomic-embed-text": ("search_document: ", "search_query: "),
    "e5": ("passage: ", "query: "),
}

# Half of the processors: threads that wait for each other on a busy machine take a second for
# what one does in ten milliseconds.
SPARING = {
    "OMP_NUM_THREADS": str(max(1, (os.cpu_count() or 2) // 2)),
    "TOKENIZERS_PARALLELISM": "false",
}

INSTALL = (
    "an embedding model of your own needs sentence-transformers (pip install -e '.[embeddings]'); "
    "or name a server that has one in `embeddings`."
)


class Embedder(Protocol):
    """Makes vectors: `float[dimensions]` of unit length. ModelError when it cannot."""

    @property
    def name(self) -> str:
        """Of the model; vectors of another one are never compared with this one's."""

    @property
    def ready(self) -> bool:
        """Whether a question is answered at once; until it is, words alone are searched."""

    async def load(self) -> int:
        """Make it ready, however long that takes; returns the dimensions."""

    async def embed_documents(self, texts: Sequence[str]) -> list[Vector]: ...

    async def embed_query(self, text: str) -> Vector: ...

    async def close(self) -> None: ...


def prefixes(model: str) -> tuple[str, str] | None:
    """What the model wants before a document and before a query, where it is known."""
    name = model.rstrip("/").rsplit("/", 1)[-1].lower()
    for part, pair in PREFIXES.items():
        if part in name if "-" in part else part in name.split("-"):
            return pair
    return None


def from_config(config: Config, *, offline: bool = False) -> "Embedder | None":
    """The embedder that the configuration means; None when words alone are to be searched.

    `offline`: a model that is not on this machine yet is not fetched.
    """
    return named(config, config.embeddings.model, offline=offline)


def named(config: Config, model: str, *, offline: bool = False) -> "Embedder | None":
    """The same with another model, such as the one that made the vectors there are."""
    settings = config.embeddings
    if settings.model == "none":
        return None
    if settings.base_url:
        return RemoteEmbedder(model, settings.base_url, settings.api_key or "")
    return LocalEmbedder(model, settings.device, offline=offline)


class LocalEmbedder:
    """sentence-transformers in a process of its own, which steps back but for questions.

    Importing torch alone holds a process for ten seconds, and each batch for one: in a thread
    it would make every room wait. The process begins with `load` (or the first text) and ends
    with `close`; one that died is started again by the next text.
    """

    def __init__(self, model: str, device: str = "cpu", *, offline: bool = False) -> None:
        self._model = model
        self._more = {**SPARING, **({"HF_HUB_OFFLINE": "1"} if offline else {})}
        self._device = device
        self._prefixes = prefixes(model)
        self._child: asyncio.subprocess.Process | None = None
        self._turn = asyncio.Lock()
        self._asking: set[asyncio.Task[list[Vector]]] = set()
        self.ready = False
        self.dimensions = 0

    @property
    def name(self) -> str:
        return self._model

    async def load(self) -> int:
        await self.embed_query("ready?")
        return self.dimensions

    async def embed_documents(self, texts: Sequence[str]) -> list[Vector]:
        vectors: list[Vector] = []
        for at in range(0, len(texts), BATCH):
            vectors += await self._ask("document", texts[at : at + BATCH])
        return vectors

    async def embed_query(self, text: str) -> Vector:
        return (await self._ask("query", [text]))[0]

    async def close(self) -> None:
        self.ready = False
        child, self._child = self._child, None
        if child and child.returncode is None:
            child.kill()  # it holds nothing that could be lost
            await child.wait()

    async def _ask(self, kind: str, texts: Sequence[str]) -> list[Vector]:
        """Whoever cannot wait for the answer leaves; the process is not disturbed by that."""
        asking = asyncio.create_task(self._exchange(kind, texts))
        self._asking.add(asking)
        asking.add_done_callback(self._asked)
        return await asyncio.shield(asking)

    def _asked(self, asking: asyncio.Task[list[Vector]]) -> None:
        self._asking.discard(asking)
        if not asking.cancelled():
            asking.exception()  # seen: perhaps nobody waits for it any more

    async def _exchange(self, kind: str, texts: Sequence[str]) -> list[Vector]:
        prefix = "" if self._prefixes is None else self._prefixes[kind == "query"]
        request = {
            "kind": kind,
            "own": self._prefixes is None,
            "texts": [prefix + t for t in texts],
        }
        async with self._turn:
            child = self._child or await self._start()
            assert child.stdin and child.stdout
            try:
                async with asyncio.timeout(QUIET):
                    child.stdin.write(json.dumps(request).encode() + b"\n")
                    await child.stdin.drain()
                    answer = json.loads(await child.stdout.readline() or b"{}")
                    if "dimensions" not in answer:
                        raise self._failure(answer)
                    size = answer["dimensions"]
                    data = await child.stdout.readexactly(4 * size * len(texts))
            except TimeoutError as exc:
                await self.close()
                raise ModelTimeout(f"The embedding model took over {QUIET:.0f} s.") from exc
            except (OSError, ValueError, asyncio.IncompleteReadError) as exc:
                await self.close()
                raise ModelBroken("The process of the embedding model ended.") from exc
            except BaseException:
                await self.close()  # cut amid an answer: the next would read its rest
                raise
        self.ready, self.dimensions = True, size
        floats = array.array("f", data)
        return [floats[at : at + size].tolist() for at in range(0, len(floats), size)]

    async def _start(self) -> asyncio.subprocess.Process:
        if importlib.util.find_spec("sentence_transformers") is None:
            raise ConfigError(INSTALL)
        command = [sys.executable, "-m", "memtrix_as.memory.embedding_process"]
        self._child = await asyncio.create_subprocess_exec(
            *command, self._model, self._device,
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
            env={**child_environment(), **self._more}, limit=2**20,
        )  # fmt: skip
        return self._child

    def _failure(self, answer: dict[str, Any]) -> ModelError:
        text = answer.get("error", "its process ended without a word; the log may tell why")
        return ModelBroken(f"The embedding model {self._model} cannot be used: {text}")


class RemoteEmbedder:
    """Any server with OpenAI's `/v1/embeddings`: Ollama, llama.cpp, a cloud.

    An address without a path gets /v1. A proxy in the environment is not used: it would read
    every memory without anybody having said so.
    """

    def __init__(self, model: str, base_url: str, api_key: str = "") -> None:
        self._model = model
        url = base_url.rstrip("/")
        self._url = (url if url.count("/") > 2 else f"{url}/v1") + "/embeddings"
        self._headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
        self._prefixes = prefixes(model) or ("", "")
        self._http: aiohttp.ClientSession | None = None
        self.ready = False

    @property
    def name(self) -> str:
        return self._model

    async def load(self) -> int:
        return len(await self.embed_query("ready?"))

    async def embed_documents(self, texts: Sequence[str]) -> list[Vector]:
        vectors: list[Vector] = []
        for at in range(0, len(texts), BATCH):
            vectors += await self._ask([self._prefixes[0] + t for t in texts[at : at + BATCH]])
        return vectors

    async def embed_query(self, text: str) -> Vector:
        return (await self._ask([self._prefixes[1] + text]))[0]

    async def close(self) -> None:
        self.ready = False
        if self._http:
            await self._http.close()
            self._http = None

    async def _ask(self, texts: Sequence[str]) -> list[Vector]:
        if self._http is None:
            limits = aiohttp.ClientTimeout(total=QUIET, sock_connect=5)
            self._http = aiohttp.ClientSession(timeout=limits, headers=self._headers)
        body = {"model": self._model, "input": list(texts), "encoding_format": "float"}
        try:
            async with self._http.post(self._url, json=body) as response:
                said = await _body(response)
                if response.status != 200:
                    told = said.decode(errors="replace")
                    raise _refusal(response.status, self._url, told)
                vectors = _read(json.loads(said), len(texts))
        except TimeoutError as exc:
            raise ModelTimeout(f"The embeddings server at {self._url} took too long.") from exc
        except aiohttp.ClientError as exc:
            text = f"The embeddings server at {self._url} cannot be reached: {exc}"
            raise ModelUnreachable(text) from exc
        except (ValueError, TypeError, OverflowError, RecursionError) as exc:
            raise ModelBroken(f"{self._url} did not answer with embeddings: {exc}") from exc
        self.ready = True
        return vectors


async def _body(response: aiohttp.ClientResponse) -> bytes:
    """All of an answer; ValueError where it is too much for one."""
    said = bytearray()
    async for piece in response.content.iter_any():
        said += piece
        if len(said) > LARGEST:
            raise ValueError(f"its answer is longer than {LARGEST} bytes")
    return bytes(said)


def _refusal(status: int, url: str, text: str) -> ModelError:
    kind = ModelBroken if status >= 500 else ModelRefused
    said = text.strip()[:200]
    refused = kind(f"The embeddings server at {url} answered {status}: {said}")
    refused.said = said
    return refused


def _read(answer: Any, number: int) -> list[Vector]:
    """The vectors of OpenAI's answer in the order of the question, of unit length."""
    rows = answer.get("data") if isinstance(answer, dict) else None
    if not isinstance(rows, list) or len(rows) != number:
        raise ValueError(f"{number} texts were asked for")
    found: dict[int, Vector] = {}
    for place, row in enumerate(rows):
        vector = row.get("embedding") if isinstance(row, dict) else None
        if not isinstance(vector, list) or not vector:
            raise ValueError("a text has no vector")
        length = math.sqrt(sum(float(x) ** 2 for x in vector)) or 1.0
        found[int(row.get("index", place))] = [float(x) / length for x in vector]
    if set(found) != set(range(number)) or len({len(v) for v in found.values()}) != 1:
        raise ValueError("the vectors do not belong to the texts")
    return [found[place] for place in range(number)]
