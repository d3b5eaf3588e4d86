"""The embedding model comes late, changes, or goes away in the middle: memory works meanwhile."""

import os
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from memtrix_as.db.pool import connect
from memtrix_as.memory import embedder
from memtrix_as.testing import ScriptedModel
from tests.chat.test_memory import indexed, search, tell
from tests.rig.embeddings import EmbeddingServer, model_path
from tests.rig.modes import only
from tests.rig.service import Process, Service
from tests.rig.settings import MODEL
from tests.rig.stage import Stage
from tests.rig.waiting import eventually

pytestmark = only("direct")

LIBRARIES = Path(__file__).parents[1] / "rig" / "libraries"


async def test_the_first_reply_does_not_wait_for_the_model(
    stopped: Service, stage: Stage, model: ScriptedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    libraries = {"PYTHONPATH": os.pathsep.join([str(LIBRARIES), *filter(None, sys.path)])}
    monkeypatch.setattr(embedder, "child_environment", lambda: {**os.environ, **libraries})
    stopped.set("embeddings", {"model": "asleep"})
    began = time.monotonic()
    await stopped.start()
    ann = await stage.person()
    chat = await stage.chat(ann)
    await tell(chat, model, "Our sailing boat is called Nessie.")
    await indexed(stage)
    assert "Nessie" in await search(await stage.chat(ann), model, "the name of the boat")
    await chat.send("/status")
    assert "0 of them searched by meaning too so far" in await chat.notice()
    assert time.monotonic() - began < 60, "the model was there before the test was over"


async def test_another_model_takes_over_while_the_old_one_serves(
    stopped: Service, stage: Stage, model: ScriptedModel, embeddings: EmbeddingServer
) -> None:
    stopped.set("embeddings", embeddings.settings)
    stopped.set("memory", {"recall_tokens": 0})
    await stopped.start()
    ann = await stage.person()
    await tell(await stage.chat(ann), model, "Our sailing boat is called Nessie.")
    await indexed(stage, vectors=True)
    await stopped.stop()
    stopped.set("embeddings", {**embeddings.settings, "model": "all-minilm-again"})
    embeddings.hold("all-minilm-again")
    await stopped.start()
    found = await search(await stage.chat(ann), model, "what do we call our ship?")
    assert "Nessie" in found, "found by meaning, with the old vectors"
    embeddings.release()
    await eventually(lambda: _spaces(stage, ["all-minilm-again"]), "the new vectors")
    await indexed(stage, vectors=True)
    assert "Nessie" in await search(await stage.chat(ann), model, "what do we call our ship?")


async def _spaces(stage: Stage, wanted: list[str]) -> bool:
    rows = await stage.database.fetch("select model from spaces where complete_at is not null")
    return [row["model"] for row in rows] == wanted


async def test_a_local_model_is_used(stopped: Service, stage: Stage, model: ScriptedModel) -> None:
    stopped.set("embeddings", {"model": model_path(), "device": "cpu"})
    stopped.set("memory", {"recall_tokens": 0})
    await stopped.start()
    ann = await stage.person()
    await tell(await stage.chat(ann), model, "Our sailing boat is called Nessie.")
    await eventually(lambda: _spaces(stage, [model_path()]), "the vectors", timeout=120)
    assert "Nessie" in await search(await stage.chat(ann), model, "what do we call our ship?")


async def _much(stage: Stage, number: int) -> None:
    """A long conversation, written into the database as turns leave it."""
    pool: Any = await connect(stage.database.dsn)
    user = stage.agent
    name = user[1:].partition(":")[0]
    async with pool.acquire() as connection, connection.transaction():
        await connection.execute(
            "insert into agents (name, user_id, display_name, model, main)"
            " values ($1, $2, 'Memtrix', $3, true) on conflict do nothing",
            *(name, user, MODEL),
        )
        session = await connection.fetchval(
            "insert into sessions (agent, room_id, ended_at) values ($1, '!long:hs.test', now())"
            " returning id",
            name,
        )
        for n in range(number):
            item = await connection.fetchval(
                "insert into inbox (lane, kind, room_id, agent, payload, done_at)"
                " values ('x', 'message', '!long:hs.test', $1, '{}', now()) returning id",
                name,
            )
            await connection.execute(
                "insert into turns (id, session_id, event_id, sender, people, state, ended_at)"
                " values ($1, $2, $3, '@ann:hs.test', '{@ann:hs.test}', 'done', now())",
                *(item, session, f"$event{n}"),
            )
            await connection.execute(
                "insert into messages (session_id, turn_id, role, text, event_id)"
                " values ($1, $2, 'user', $3, $4)",
                *(session, item, f"Parcel {n} went to customer {n * 7}. " * 4, f"$event{n}"),
            )
    await pool.close()


async def test_killed_while_it_indexes(
    stage: Stage, embeddings: EmbeddingServer, model: ScriptedModel, tmp_path: Path
) -> None:
    process = Process(tmp_path, stage.door, stage.database.dsn, model.url)
    process.set("embeddings", embeddings.settings)
    await stage.door.lead_to(process.url)
    await _much(stage, 400)
    done = 0
    for _ in range(3):
        await process.start()
        await eventually(lambda least=done: _more(stage, least), "vectors")  # type: ignore[misc]
        await process.kill9()
        await stage.database.fetch("select pg_sleep(0.1)")  # what it had sent is committed
        done = await _vectors(stage)
    assert not await _complete(stage), "nothing was left to do"
    await process.start()
    await indexed(stage)
    await eventually(lambda: _complete(stage), "every vector", timeout=120)
    await process.stop()
    rows = await stage.database.fetch("select start, parts, events from passages order by start")
    assert len({row["start"] for row in rows}) == len(rows), "nothing twice"
    assert {e for row in rows for e in row["events"]} == {f"$event{n}" for n in range(400)}
    counts = await stage.database.fetch(
        "select count(*) as n, count(distinct passage) as passages from vectors"
    )
    assert counts[0]["n"] == counts[0]["passages"] == len(rows)
    checked = await stage.database.fetch(
        "select t.passages as told, (select count(*) from postings p where p.term = t.id) as there"
        " from terms t"
    )
    assert checked and all(row["told"] == row["there"] for row in checked)


async def _vectors(stage: Stage) -> int:
    return int((await stage.database.fetch("select count(*) as n from vectors"))[0]["n"])


async def _more(stage: Stage, least: int) -> bool:
    return await _vectors(stage) > least


async def _complete(stage: Stage) -> bool:
    rows = await stage.database.fetch("select count(*) as n from passages")
    return await _vectors(stage) == rows[0]["n"]
