"""Search the web, read pages, download files."""

import asyncio
import json
import re
from collections.abc import Mapping, Sequence
from email.message import Message as Head
from typing import Any

from memtrix_as.documents import encodings, paging
from memtrix_as.documents.extract import Documents
from memtrix_as.errors import BadStatus, OutboundError, ToolError
from memtrix_as.memory.recall import END
from memtrix_as.messages import Message
from memtrix_as.outbound.client import Answer, Limits
from memtrix_as.outbound.told import host_in, stands_in
from memtrix_as.outbound.web import Web
from memtrix_as.tool import ToolContext, tool
from memtrix_as.workspace import Workspaces
from memtrix_as.workspace.paths import safe_name

SEARCH = Limits(connect=5, idle=20, total=30, size=4_000_000, redirects=0)
PAGE = Limits(total=45, size=10_000_000)
MOST_QUERY = 400  # characters: a query goes to strangers, and is no place for whole documents
RESULTS = 8
UNASKED = 8  # pages of one turn that are fetched unasked after text from outside was read
_HTML = ("text/html", "application/xhtml+xml")
_TEXT = re.compile(r"text/|application/(.*[+/])?(json|xml|javascript|yaml|toml|x-ndjson)$")


@tool(untrusted=True, repeatable=True, harmless=True)
async def web_search(ctx: ToolContext, query: str, page: int = 1) -> str:
    """Search the web. Gives titles, addresses and short excerpts; read a page with fetch_url.

    Args:
        query: what to look for, as you would type it into a search engine
        page: which page of results, from 1
    """
    web = ctx.get(Web)
    if web.engine is None:
        raise ToolError(
            "Web search is not set up here. Tell the user that the operator can set "
            "search.searxng_url; a page whose address is known can be read with fetch_url."
        )
    asked = " ".join(query.split())
    if not asked or len(asked) > MOST_QUERY:
        raise ToolError(f"A query has 1 to {MOST_QUERY} characters; this one has {len(asked)}.")
    try:
        async with web.engine.request(web.search_url(asked, min(max(page, 1), 50)), SEARCH) as got:
            found = json.loads(await got.read())
    except OutboundError as exc:
        raise ToolError(f"The search engine did not answer. {_engine_advice(exc)}") from exc
    except ValueError as exc:
        raise ToolError(
            "The search engine gave no JSON. Tell the user, who can set it up."
        ) from exc
    return _results(found)


async def _tells(ctx: ToolContext, arguments: Mapping[str, Any]) -> str | None:
    """Ask about an address that the model made up after it had read text from outside.

    Such a text may want to be sent what the agent knows, as a part of an address. One that stands
    in what a human wrote, or in a page, has nothing of the agent's in it. Which of many is
    fetched says something too, so only a few go unasked.
    """
    if not any(m.outside for m in ctx.history):
        return None
    url = str(arguments.get("url", ""))
    shown = url if len(url) <= 300 else f"{url[:300]}..."
    if not _named(url, ctx.history):
        return f"It asks {shown} for a page: an address that neither you nor a page has named."
    if _fetched(ctx) > UNASKED:
        return f"It asks {shown} for a page, after {UNASKED} others in this turn."
    return None


def _named(url: str, history: Sequence[Message]) -> bool:
    """Whether an address stands in a human's own words, in a page, or in what a search found.

    What the model wrote itself names nothing: not where a human quotes it, nor where an engine
    repeats its query. Files and errors are no pages.
    """
    human = [_own_words(m.text) for m in history if m.role == "user" and m.human]
    if stands_in(url, human) or host_in(url, human):
        return True
    read = {m.call_id for m in history if m.outside.startswith("fetch_url:")}
    calls = [call for m in history for call in m.calls]
    if any(call.id in read and call.arguments.get("url") == url for call in calls):
        return True  # to read on
    queries = [str(call.arguments.get("query")) for call in calls if call.name == "web_search"]
    return stands_in(url, _brought(history, "fetch_url:")) or (
        stands_in(url, _brought(history, "web_search:")) and not stands_in(url, queries)
    )


def _own_words(text: str) -> str:
    """What a human said, without what was remembered of it and what they quote."""
    lines = text.rpartition(END)[2].splitlines()
    return "\n".join(line for line in lines if not line.startswith(">"))


def _brought(history: Sequence[Message], by: str) -> list[str]:
    """What a tool brought; the line before it repeats the call, and so the model's words."""
    return [m.text.partition("\n")[2] for m in history if m.outside.startswith(by)]


def _fetched(ctx: ToolContext) -> int:
    """How many pages the turn has asked for, with the calls that are being decided."""
    count = 0
    for message in reversed(ctx.history):
        if message.role == "user":
            break
        count += sum(call.name == "fetch_url" for call in message.calls)
    return count


@tool(untrusted=True, repeatable=True, harmless=True, confirm_if=_tells)
async def fetch_url(
    ctx: ToolContext,
    url: str,
    offset: int = 0,
    limit: int = paging.USUAL,
    links: bool = False,
) -> str:
    """Read the text of a web page, a PDF, JSON or a text file on the web.

    A long text comes in pieces; the end of each piece says how to read on.

    Args:
        url: the whole address, such as https://example.org/page
        offset: the character to begin at
        limit: how many characters to read, at most 50000
        links: also list the links of the page
    """
    web, documents = ctx.get(Web), ctx.get(Documents)
    async with web.outbound.request(url, PAGE, accept="text/html,*/*;q=0.5") as answer:
        at, kind = str(answer.url), answer.content_type
        _readable(answer)
        data = await answer.read()
        charset = answer.charset
    if data.startswith(b"%PDF-"):
        return documents.page(f"{at}\n\n{await documents.pdf(data)}", offset, limit)
    html = kind in _HTML or (not kind and data.lstrip()[:1] == b"<")
    text = await asyncio.to_thread(encodings.decode, data, charset, html=html)
    if text is None:
        raise ToolError(f"That is no text but {kind or 'something else'}. Use download_file.")
    if html:
        text = await _article(documents, text, at, links)
    return documents.page(text, offset, limit)


async def _downloads(ctx: ToolContext, arguments: Mapping[str, Any]) -> str | None:
    url = str(arguments.get("url", ""))
    await ctx.get(Web).outbound.check(url)  # nobody is asked about what cannot be had
    shown = url if len(url) <= 300 else f"{url[:300]}... ({len(url)} characters)"
    most = ctx.get(Web).download_size / 1e6
    return f"It downloads {shown} into downloads/ (up to {most:g} MB) from that server."


@tool(confirm=True, untrusted=True, alone=True, confirm_if=_downloads)
async def download_file(ctx: ToolContext, url: str, filename: str = "") -> str:
    """Download a file into the folder downloads/ of your workspace. The user is asked first.

    A file that is there already is not replaced: the new one gets a number.

    Args:
        url: the whole address, with its query if it has one
        filename: how to call the file; empty for the name that the server gives it
    """
    web, workspace = ctx.get(Web), ctx.get(Workspaces).of(ctx.place.agent)
    limits = Limits(total=600, size=web.download_size)
    size = 0
    async with web.outbound.request(url, limits) as answer:
        name = safe_name(filename or _proposed(answer), "download")
        kind = answer.content_type or "of an unknown type"
        with workspace.incoming("downloads", name) as file:
            async for piece in answer.pieces():
                await asyncio.to_thread(file.write, piece)
                size += len(piece)
    return f"Saved downloads/{file.name}: {size} bytes, {kind}."


def _proposed(answer: Answer) -> str:
    """The name that the server gives a file, or the last part of its address."""
    if answer.disposition:
        head = Head()
        head["Content-Disposition"] = answer.disposition[:1000].replace("\r", "").replace("\n", "")
        if name := head.get_filename():
            return name
    return answer.url.name


def _readable(answer: Answer) -> None:
    """Refuse before it is read what could not be shown."""
    kind = answer.content_type
    if not kind or kind in (*_HTML, "application/pdf", "application/octet-stream"):
        return
    if not _TEXT.match(kind):
        raise ToolError(f"That is no text but {kind}. Use download_file to keep it.")


async def _article(documents: Documents, text: str, at: str, links: bool) -> str:
    page = await documents.html(text, at)
    parts = [f"# {page.title}" if page.title else "", at, page.text or "(no readable text)"]
    if links:
        lines = [f"- [{name}]({to})" for name, to in page.links]
        parts.append("## Links\n\n" + ("\n".join(lines) or "(none)"))
    return "\n\n".join(part for part in parts if part)


def _results(found: Any) -> str:
    """The engine's results, as far as they are what they should be."""
    results = found.get("results") if isinstance(found, dict) else None
    if not isinstance(results, list):
        raise ToolError("The search engine gave something else than results.")
    blocks: list[str] = []
    for one in (r for r in results if isinstance(r, dict) and r.get("url")):
        title, url, text = (" ".join(str(one.get(k) or "").split()) for k in
                            ("title", "url", "content"))  # fmt: skip
        blocks.append(
            f"{len(blocks) + 1}. {title[:200]}\n   {url[:1000]}\n   {text[:500]}".rstrip()
        )
        if len(blocks) == RESULTS:
            break
    for one in (found.get("answers") or [])[:2]:
        answer = one.get("answer") if isinstance(one, dict) else one
        blocks.insert(0, f"Answer: {' '.join(str(answer).split())[:500]}")
    if blocks:
        return "\n\n".join(blocks)
    dead = [str(one[0]) for one in found.get("unresponsive_engines") or [] if one]
    if dead:
        raise ToolError(f"No results; these engines did not answer: {', '.join(dead)[:200]}.")
    return "Nothing was found. Try fewer or other words."


def _engine_advice(exc: OutboundError) -> str:
    """What to do about it; where the engine is, is not the model's business."""
    if isinstance(exc, BadStatus):
        if exc.status == 403:
            return "It does not allow JSON: the operator has to add json to search.formats there."
        return f"It answered with HTTP status {exc.status}. Tell the user, or try again later."
    return "It cannot be reached, or takes too long. Tell the user, or try again later."
