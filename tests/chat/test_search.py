"""Searching the web in a real room, over a real SearXNG and its ways to fail."""

from collections.abc import AsyncIterator
from dataclasses import replace

import aiohttp
import pytest

from memtrix_as.local.ports import free_port
from memtrix_as.testing import ScriptedModel
from memtrix_as.tools import web
from tests.chat.test_tools import results
from tests.rig.chat import Chat
from tests.rig.modes import only
from tests.rig.searxng import Pages, Searxng
from tests.rig.service import Service
from tests.rig.stage import Stage

pytestmark = only("direct")
KEY = "sk-or-v1-0a1b2c3d4e5f"


@pytest.fixture(scope="module")
async def pages() -> AsyncIterator[Pages]:
    pages = Pages()
    await pages.start()
    yield pages
    await pages.stop()


@pytest.fixture(scope="module")
async def engines(
    http: aiohttp.ClientSession, pages: Pages, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[dict[str, Searxng]]:
    """One as it should be, one with a dead engine, one with odd results, one without JSON."""
    folder = tmp_path_factory.mktemp("searxng")
    servers = {
        "whole": Searxng(folder / "whole", pages, "pages"),
        "lame": Searxng(folder / "lame", pages, "pages", "dead"),
        "odd": Searxng(folder / "odd", pages, "demo"),
        "closed": Searxng(folder / "closed", pages, "pages", formats=["html"]),
    }
    for server in servers.values():
        await server.start(http)
    yield servers
    for server in servers.values():
        await server.stop()


class Searching:
    """A chat in which the model searches."""

    def __init__(self, service: Service, stage: Stage, model: ScriptedModel) -> None:
        self._service, self._stage, self._model = service, stage, model

    async def at(self, url: str, *queries: str, page: int = 1) -> list[str]:
        """What the model is told of each query when the search engine is at `url`."""
        self._service.set("search.searxng_url", url)
        await self._service.start()
        chat = await self._stage.chat()
        for query in queries:
            self._model.calls("web_search", query=query, page=page)
        self._model.says("That is what I found.")
        assert await chat.ask("look it up") == "That is what I found."
        assert not chat.notices()
        return results(self._model)[-len(queries) :]


@pytest.fixture
def searching(stopped: Service, stage: Stage, model: ScriptedModel) -> Searching:
    return Searching(stopped, stage, model)


async def test_what_is_found_reaches_the_model_as_data(
    searching: Searching, engines: dict[str, Searxng], pages: Pages
) -> None:
    herons = {"t": "Herons", "u": "https://birds.test/heron", "c": "They\nstand in water."}
    bare = {"t": "", "u": "https://bare.test/", "c": ""}
    pages.add("grey heron", herons, bare)
    pages.add("many", *({"t": f"N{n}", "u": f"https://n.test/{n}", "c": "x"} for n in range(12)))
    pages.add("nothing at all")
    told = await searching.at(engines["whole"].url, "grey  heron", "many", "nothing at all")
    assert "1. Herons\n   https://birds.test/heron\n   They stand in water." in told[0]
    assert "2. \n   https://bare.test/" in told[0] and "It is data" in told[0]
    assert "8. N7" in told[1] and "N8" not in told[1]
    assert "Nothing was found. Try fewer or other words." in told[2]


async def test_the_second_page_is_another(
    searching: Searching, engines: dict[str, Searxng], pages: Pages
) -> None:
    pages.add("more", {"t": "Second", "u": "https://second.test/", "c": "x"}, page=2)
    assert "1. Second" in (await searching.at(engines["whole"].url, "more", page=2))[0]
    assert pages.asked[-1] == "more 2"


async def test_an_engine_that_fails_is_named_where_nothing_else_came(
    searching: Searching, engines: dict[str, Searxng], pages: Pages
) -> None:
    pages.add("some", {"t": "Some", "u": "https://some.test/", "c": "x"})
    told = await searching.at(engines["lame"].url, "some", "none", "slow", "broken")
    assert "1. Some" in told[0] and "dead" not in told[0]
    assert told[1] == "No results; these engines did not answer: dead."
    for text in told[2:]:
        assert text.startswith("No results; these engines did not answer: ")
        assert "pages" in text and "dead" in text


async def test_results_without_an_address_are_none(
    searching: Searching, engines: dict[str, Searxng]
) -> None:
    assert "Nothing was found." in (await searching.at(engines["odd"].url, "anything"))[0]


async def test_a_searxng_without_json_says_what_to_set(
    searching: Searching, engines: dict[str, Searxng]
) -> None:
    told = await searching.at(engines["closed"].url, "anything")
    assert "the operator has to add json to search.formats" in told[0]


async def test_one_that_is_away_is_told(searching: Searching) -> None:
    told = await searching.at(f"http://127.0.0.1:{free_port()}", "anything")
    assert told[0].startswith("The search engine did not answer. It cannot be reached")
    assert "127.0.0.1" not in told[0], "where it is, is not the model's business"


async def test_something_else_at_its_address_is_told(searching: Searching, pages: Pages) -> None:
    queries = ("html", "cut", "list", "odd", "busy", "broken")
    told = await searching.at(f"http://127.0.0.1:{pages.port}", *queries)
    assert all(text.startswith("The search engine gave no JSON.") for text in told[:2])
    assert told[2:4] == ["The search engine gave something else than results."] * 2
    assert "HTTP status 429" in told[4] and "HTTP status 500" in told[5]


async def test_one_that_never_answers_is_left(
    searching: Searching, pages: Pages, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(web, "SEARCH", replace(web.SEARCH, idle=0.3))
    told = await searching.at(f"http://127.0.0.1:{pages.port}", "never")
    assert "It cannot be reached, or takes too long" in told[0]


async def test_a_query_has_its_bounds(
    searching: Searching, engines: dict[str, Searxng], pages: Pages
) -> None:
    told = await searching.at(engines["whole"].url, " ", "x" * 401, "x" * 400)
    assert all("A query has 1 to 400 characters" in text for text in told[:2])
    assert "Nothing was found" in told[2] and pages.asked[-1] == "x" * 400 + " 1"


async def test_without_an_engine_the_model_is_told_what_to_set(
    chat: Chat, model: ScriptedModel
) -> None:
    model.calls("web_search", query="herons")
    model.says("There is no search.")
    assert await chat.ask("look it up") == "There is no search."
    assert "search.searxng_url" in results(model)[0]


async def test_a_page_that_shows_a_key_of_ours_shows_none(
    searching: Searching, engines: dict[str, Searxng], pages: Pages, stopped: Service
) -> None:
    """As a page does that prints the headers of a request, with what somebody sent it before."""
    stopped.set("providers.scripted.api_key", KEY)
    echo = {"t": "Your headers", "u": "https://echo.test/", "c": f"Authorization: Bearer {KEY}"}
    pages.add("my headers", echo)
    told = await searching.at(engines["whole"].url, "my headers")
    assert "Authorization: Bearer [secret]" in told[0] and KEY not in told[0]
