"""The wizard's steps about what stands around the agent: search, embeddings, the time zone."""

import os
from zoneinfo import ZoneInfo

import aiohttp

from memtrix_as import config
from memtrix_as.settings import checks
from memtrix_as.terminal.asking import anything
from memtrix_as.terminal.wizard import Wizard

NONE = "none"
NOMIC = "nomic-ai/nomic-embed-text-v1.5"


def composed(wizard: Wizard) -> None:
    """What docker-compose.yml says already, and nobody has to be asked."""
    draft = wizard.draft
    known = {
        ("homeserver", "address"): "http://conduit:6167",
        ("homeserver", "domain"): config.environment("MEMTRIX_DOMAIN") or "memtrix.local",
        ("homeserver", "software"): "conduit",
        ("appservice", "address"): "http://memtrix:29345",
        ("appservice", "hostname"): "0.0.0.0",
        ("appservice", "port"): 29345,
        ("appservice", "database"): "$DATABASE_URL",
        ("data_directory",): "../data",
        ("workspace_directory",): "../workspace",
        ("agents_directory",): "../agents",
    }
    for key, value in known.items():
        if draft.new or not draft.get(*key):
            draft.set(*key, value=value)
    if draft.new:
        draft.set("search", "searxng_url", value="http://searxng:8080")


async def search(wizard: Wizard) -> None:
    def check(text: str) -> str:
        return text if text in ("", NONE) else checks.url(text)

    asker, draft = wizard.asker, wizard.draft
    old = draft.get("search", "searxng_url")
    while True:
        url = asker.text(("search",), "Address of a SearXNG, or none", old or NONE, check)
        if url in ("", NONE):
            draft.settings.pop("search", None)
            return
        why = await _try_search(url) if wizard.tries else ""
        if not why:
            break
        asker.say(f"{url} {why}.", "yellow")
        if not asker.attended or asker.yes((), "Take it all the same?", False):
            break
    draft.set("search", "searxng_url", value=url)


async def _try_search(url: str) -> str:
    timeout = aiohttp.ClientTimeout(total=30)
    query = {"q": "matrix", "format": "json"}
    try:
        async with aiohttp.ClientSession(timeout=timeout) as http:
            async with http.get(f"{url}/search", params=query) as answer:
                if answer.status == 403:
                    return "does not allow JSON: add it to search.formats in its settings.yml"
                told = await answer.json(content_type=None)
    except (aiohttp.ClientError, OSError, TimeoutError):
        return "does not answer"
    except ValueError:
        return "does not answer as a SearXNG does"
    return "" if isinstance(told, dict) and "results" in told else "is no SearXNG"


async def embeddings(wizard: Wizard) -> None:
    asker, draft = wizard.asker, wizard.draft
    old = draft.get("embeddings", default={})
    choices = {
        "own": "a model in this program (needs sentence-transformers, some 800 MB)",
        "server": "a server with /v1/embeddings, such as Ollama",
        NONE: "search by words alone",
    }
    before = "server" if old.get("base_url") else NONE if old.get("model") == NONE else "own"
    how = asker.choose(
        ("embeddings", "how"), "What finds memories by their meaning?", choices, before
    )
    if how == NONE:
        draft.set("embeddings", "model", value=NONE)
        return
    model = old.get("model", NOMIC)
    model = NOMIC if model == NONE else model
    if how == "server":
        default = old.get("base_url") or _local(wizard, "http://localhost:11434")
        url = asker.text(("embeddings", "base_url"), "Its address", default, checks.url)
        draft.set("embeddings", "base_url", value=url)
        key = asker.text(
            ("embeddings", "api_key"), "Its key, if it wants one", old.get("api_key", ""), anything,
            secret=True,
        )  # fmt: skip
        if key:
            kept = key if key.startswith("$") else draft.secret("EMBEDDINGS_API_KEY", key)
            draft.set("embeddings", "api_key", value=kept)
        model = "nomic-embed-text" if model == NOMIC else model
    elif old.get("base_url"):
        draft.settings["embeddings"] = {"model": model}
    draft.set(
        "embeddings", "model", value=asker.text(("embeddings", "model"), "Which model?", model)
    )


def _local(wizard: Wizard, url: str) -> str:
    return url.replace("localhost", "host.docker.internal") if wizard.compose else url


async def timezone(wizard: Wizard) -> None:
    def check(text: str) -> str:
        try:
            return ZoneInfo(text).key
        except (KeyError, ValueError, OSError):
            raise ValueError("found {found}, expected a time zone such as Europe/Berlin") from None

    default = wizard.draft.get("timezone") or _here()
    zone = wizard.asker.text(("timezone",), "Your time zone", default, check)
    wizard.draft.set("timezone", value=zone)


def _here() -> str:
    """This machine's time zone, as far as it can be told."""
    name = config.environment("TZ") or os.path.realpath("/etc/localtime").partition("/zoneinfo/")[2]
    try:
        return ZoneInfo(name).key if name else "UTC"
    except (KeyError, ValueError, OSError):
        return "UTC"
