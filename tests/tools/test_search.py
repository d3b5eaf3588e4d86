"""The search engine: what it gives, and all the ways in which it does not."""

import json
from pathlib import Path
from typing import Any

import pytest
from yarl import URL

from memtrix_as.errors import ToolError
from memtrix_as.outbound.client import Outbound
from memtrix_as.outbound.policy import Only
from memtrix_as.outbound.web import Web as Way
from tests.rig.tooling import Bench
from tests.rig.web import CLOSED, OPEN, Web


@pytest.fixture
def bench(tmp_path: Path, web: Web) -> Bench:
    """The engine's address is the operator's: it may be anywhere, here too."""
    address = f"http://{OPEN}:{web.port}"
    engine = Outbound(Only(URL(address)))
    return Bench(tmp_path, {Way: Way(web.outbound(), engine, address)})


def answer(web: Web, found: Any, status: int = 200) -> None:
    web.page("/search", json.dumps(found).encode(), "application/json", status=status)


def result(n: int, **more: Any) -> dict[str, Any]:
    return {"title": f"Title {n}", "url": f"https://x.example/{n}", "content": "About\nit", **more}


async def test_results_are_listed(bench: Bench, web: Web) -> None:
    answer(web, {"query": "q", "results": [result(n) for n in range(20)]})
    text = await bench.call("web_search", query="  grey\nherons & cranes ", page=2)
    assert text.startswith("1. Title 0\n   https://x.example/0\n   About it\n\n2. Title 1")
    assert "8. Title 7" in text and "Title 8" not in text
    sent = web.requests[0].split()[1].decode()
    assert sent == "/search?q=grey+herons+%26+cranes&format=json&categories=general&pageno=2"


async def test_a_direct_answer_stands_first(bench: Bench, web: Web) -> None:
    answer(web, {"results": [result(1)], "answers": ["42", {"answer": "43"}]})
    assert (await bench.call("web_search", query="q")).startswith("Answer: 43\n\nAnswer: 42\n\n1.")


async def test_odd_results_do_no_harm(bench: Bench, web: Web) -> None:
    odd = [result(1, title="x" * 9999, content=None), {"title": "no url"}, None, "x", result(2)]
    answer(web, {"results": odd})
    text = await bench.call("web_search", query="q")
    assert "2. Title 2" in text and len(text) < 600


async def test_nothing_found(bench: Bench, web: Web) -> None:
    answer(web, {"results": []})
    assert "Nothing was found" in await bench.call("web_search", query="q")
    answer(web, {"results": [], "unresponsive_engines": [["brave", "timeout"]]})
    with pytest.raises(ToolError, match="did not answer: brave"):
        await bench.call("web_search", query="q")


async def test_an_engine_that_fails_is_told(bench: Bench, web: Web) -> None:
    answer(web, {}, status=403)
    with pytest.raises(ToolError, match=r"add json to search\.formats"):
        await bench.call("web_search", query="q")
    answer(web, {}, status=500)
    with pytest.raises(ToolError, match="status 500"):
        await bench.call("web_search", query="q")
    web.page("/search", b"<html>", "text/html")
    with pytest.raises(ToolError, match="no JSON"):
        await bench.call("web_search", query="q")
    for wrong in ([], {"results": "x"}, "x"):
        answer(web, wrong)
        with pytest.raises(ToolError, match="something else"):
            await bench.call("web_search", query="q")
    web.redirect("/search", f"http://{CLOSED}:{web.port}/search")
    with pytest.raises(ToolError):
        await bench.call("web_search", query="q")
    assert not web.trapped
    await web.stop()
    with pytest.raises(ToolError, match="cannot be reached") as caught:
        await bench.call("web_search", query="q")
    assert OPEN not in str(caught.value)


async def test_a_query_is_short(bench: Bench, web: Web) -> None:
    for query in ("", "  ", "x" * 401):
        with pytest.raises(ToolError, match="1 to 400 characters"):
            await bench.call("web_search", query=query)
    assert not web.requests


async def test_without_an_engine_the_model_is_told(tmp_path: Path, web: Web) -> None:
    bench = Bench(tmp_path, {Way: Way(web.outbound(), None, None)})
    with pytest.raises(ToolError, match=r"not set up here.*search\.searxng_url"):
        await bench.call("web_search", query="q")
