"""The scripted model is itself a server that has to be right: tests of everybody rest on it."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from memtrix_as.testing import Reply, ScriptedModel


@pytest.fixture
async def model() -> AsyncIterator[ScriptedModel]:
    async with ScriptedModel() as scripted:
        yield scripted


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector) as session:
        yield session


def body(text: str, stream: bool = False) -> dict[str, Any]:
    return {"model": "m", "messages": [{"role": "user", "content": text}], "stream": stream}


async def ask(http: aiohttp.ClientSession, model: ScriptedModel, text: str = "hi") -> str:
    async with http.post(f"{model.url}/v1/chat/completions", json=body(text)) as response:
        answer = await response.json()
        return str(answer["choices"][0]["message"]["content"])


async def stream(http: aiohttp.ClientSession, model: ScriptedModel) -> list[Any]:
    async with http.post(f"{model.url}/v1/chat/completions", json=body("hi", True)) as response:
        lines = (await response.text()).split("\n\n")
    return [line.removeprefix("data: ") for line in lines if line]


async def test_replies_come_in_order_and_then_the_default(
    model: ScriptedModel, http: aiohttp.ClientSession
) -> None:
    model.says("One.", "Two.")
    said = [await ask(http, model, "hello") for _ in range(3)]
    assert said == ["One.", "Two.", "You said: hello"]
    model.by_default("Always.")
    assert await ask(http, model) == "Always."
    model.default = lambda request: Reply([request.model.upper()])
    assert await ask(http, model) == "M"


async def test_a_request_is_kept_as_it_came(
    model: ScriptedModel, http: aiohttp.ClientSession
) -> None:
    await ask(http, model, "hello")
    [request] = model.requests
    assert request.messages == [{"role": "user", "content": "hello"}]
    assert (request.model, request.tools, request.last_user) == ("m", [], "hello")


async def test_a_stream_has_pieces_an_end_and_usage(
    model: ScriptedModel, http: aiohttp.ClientSession
) -> None:
    model.says("abcdef", chunks=3, reasoning="hm")
    *chunks, done = await stream(http, model)
    assert done == "[DONE]"
    parsed = [json.loads(chunk) for chunk in chunks]
    deltas = [choice["delta"] for chunk in parsed for choice in chunk["choices"]]
    assert [d["content"] for d in deltas if "content" in d] == ["ab", "cd", "ef"]
    assert deltas[0]["reasoning"] == "hm" and parsed[-1]["usage"]["completion_tokens"] == 1
    assert parsed[-2]["choices"][0]["finish_reason"] == "stop"


async def test_calls_with_arguments(model: ScriptedModel, http: aiohttp.ClientSession) -> None:
    model.calls("a", {"x": 1}, "b", y=2, text="Let me see.")
    chunks = [json.loads(chunk) for chunk in (await stream(http, model))[:-1]]
    calls = [c for k in chunks for p in k["choices"] for c in p["delta"].get("tool_calls", [])]
    functions = [call["function"] for call in calls]
    assert [(f["name"], json.loads(f["arguments"])) for f in functions] == [
        ("a", {"x": 1}),
        ("b", {"y": 2}),
    ]


async def test_rooms_have_scripts_of_their_own(
    model: ScriptedModel, http: aiohttp.ClientSession
) -> None:
    model.on("time").says("Noon.")
    model.on(lambda request: "weather" in request.last_user).by_default("Rain.")
    model.says("Hello.")
    asked = ("the weather?", "what time?", "hi", "weather again", "time")
    said = [await ask(http, model, text) for text in asked]
    assert said == ["Rain.", "Noon.", "Hello.", "Rain.", "You said: time"]


async def test_the_gate_holds_and_lets_go(
    model: ScriptedModel, http: aiohttp.ClientSession
) -> None:
    model.hold()
    tasks = [asyncio.create_task(ask(http, model)) for _ in range(3)]
    await model.wait_for_requests(3)
    assert model.in_flight == 3 and not any(task.done() for task in tasks)
    model.release()
    model.says("a", "b", "c")  # decided only when they are let go
    assert await asyncio.gather(*tasks) == ["a", "b", "c"]
    assert (model.in_flight, model.peak_in_flight, model.disconnects) == (0, 3, 0)
    model.forget()
    with pytest.raises(TimeoutError):
        await model.wait_for_requests(1, timeout=0.01)


async def test_a_client_that_leaves_uses_up_no_reply(
    model: ScriptedModel, http: aiohttp.ClientSession
) -> None:
    model.hold()
    task = asyncio.create_task(ask(http, model))
    await model.wait_for_requests(1)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    model.release()
    model.says("For the next.")
    assert await ask(http, model) == "For the next."
    assert model.disconnects == 1


async def test_failures(model: ScriptedModel, http: aiohttp.ClientSession) -> None:
    model.fails(429, retry_after=2).fails(500, {"error": "odd"})
    url = f"{model.url}/v1/chat/completions"
    async with http.post(url, json=body("hi")) as response:
        assert response.status == 429 and response.headers["Retry-After"] == "2"
        assert "Rate limit" in (await response.json())["error"]["message"]
    async with http.post(url, json=body("hi")) as response:
        assert response.status == 500 and await response.json() == {"error": "odd"}
    model.breaks(after="half")
    with pytest.raises(aiohttp.ClientError):
        await stream(http, model)
    model.breaks(after="half", clean=True)
    [chunk] = await stream(http, model)
    assert "half" in chunk


async def test_it_hangs_until_released(model: ScriptedModel, http: aiohttp.ClientSession) -> None:
    model.hangs()
    task = asyncio.create_task(ask(http, model))
    await model.wait_for_requests(1)
    await asyncio.sleep(0.05)
    assert not task.done()
    model.release()
    assert await task == "None"


async def test_it_comes_back_at_the_same_address(
    model: ScriptedModel, http: aiohttp.ClientSession
) -> None:
    await ask(http, model)
    await model.stop()
    with pytest.raises(aiohttp.ClientError):
        await ask(http, model)
    await model.start()
    assert await ask(http, model) == "You said: hi"


async def test_five_hundred_at_once(model: ScriptedModel, http: aiohttp.ClientSession) -> None:
    model.hold()
    tasks = [asyncio.create_task(ask(http, model, str(n))) for n in range(500)]
    await model.wait_for_requests(500, timeout=30)
    assert model.in_flight == 500
    model.release()
    said = await asyncio.gather(*tasks)
    assert sorted(said) == sorted(f"You said: {n}" for n in range(500))


async def test_it_runs_by_itself(http: aiohttp.ClientSession) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "memtrix_as.testing", stdout=asyncio.subprocess.PIPE
    )
    try:
        assert process.stdout
        url = (await process.stdout.readline()).decode().strip()
        async with http.post(f"{url}/_script", json=[["says", "Hello."]]) as response:
            assert await response.json() == {"queued": 1, "asked": 0}
        async with http.post(f"{url}/v1/chat/completions", json=body("hi")) as response:
            assert (await response.json())["choices"][0]["message"]["content"] == "Hello."
    finally:
        process.terminate()
        await process.wait()
