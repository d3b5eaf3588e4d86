"""What stands around: tools, web search, who may do what."""

import json
from collections.abc import Iterator
from functools import partial

from memtrix_as import tools
from memtrix_as.config import Config
from memtrix_as.doctor.check import Ailing, Check, Finding
from memtrix_as.errors import AddressRefused, BadStatus, OutboundError
from memtrix_as.foreign import in_thread
from memtrix_as.outbound.client import Limits
from memtrix_as.outbound.web import Web
from memtrix_as.tools.base import About
from memtrix_as.workspace import Workspaces

QUICK = Limits(connect=4, idle=10, total=12, size=4_000_000, redirects=0)
JSON = "add json to search.formats in SearXNG's settings.yml, and restart it"


def checks(config: Config) -> Iterator[Check]:
    yield Check("tools", partial(_tools, config), (), 10,
                "a file in tools.directories hangs when it is loaded; take it out")  # fmt: skip
    yield Check("web search", partial(_search, config), (), 13, "restart SearXNG")
    yield Check("permissions", partial(_permissions, config))


async def _tools(config: Config) -> list[Finding]:
    about = About(Workspaces(config), config.appservice.bot_username, config.timezone)
    look = partial(tools.discover, config.tools.directories, config.tools.disabled, about)
    found = await in_thread(look)
    broken = [
        Finding("tools", "fail", f"{each.where}: {each.why}",
                "mend the file or package, or take it out of tools.directories")
        for each in found.broken
    ]  # fmt: skip
    return broken or [Finding("tools", "ok", f"{len(found.tools)} can be used")]


async def _search(config: Config) -> str:
    web = Web.of(config)
    if web.engine is None:
        return "none is set up (search.searxng_url)"
    address = web.searxng_url
    try:
        async with web.engine.request(web.search_url("matrix", 1), QUICK) as got:
            found = json.loads(await got.read())
    except BadStatus as exc:
        if exc.status == 403:
            raise Ailing(f"SearXNG at {address} does not answer in JSON (403)", JSON) from exc
        fix = "correct search.searxng_url, or look into SearXNG's log"
        raise Ailing(f"SearXNG at {address} failed ({exc.status})", fix) from exc
    except AddressRefused as exc:
        raise Ailing(str(exc), "correct search.searxng_url") from exc
    except OutboundError as exc:
        fix = "start SearXNG, or correct search.searxng_url"
        raise Ailing(f"no SearXNG answers at {address}: {exc}", fix) from exc
    except ValueError as exc:
        raise Ailing(f"what answers at {address} gives no JSON", f"{JSON}; or correct "
                     "search.searxng_url") from exc  # fmt: skip
    results = found.get("results") if isinstance(found, dict) else None
    if not isinstance(results, list):
        raise Ailing(f"what answers at {address} is no SearXNG", "correct search.searxng_url")
    if not results:
        raise Ailing(f"SearXNG at {address} finds nothing", "see in its preferences whether its "
                     "engines work", "warn")  # fmt: skip
    return f"SearXNG at {address} answers in JSON"


async def _permissions(config: Config) -> list[Finding]:
    roles, domain = config.permissions, config.homeserver.domain
    found = []
    if not any(role == "admin" for role in roles.values()):
        found.append(("nobody is an administrator", f'permissions: "@you:{domain}": admin'))
    if not any(role != "none" for role in roles.values()):
        found.append(("nobody may talk to the agent", f'permissions: "{domain}": user'))
    if roles.get("*", "none") != "none":
        found.append((f"everybody who reaches your homeserver is {roles['*']}, at your cost",
                      'permissions: "*": none, unless you mean it'))  # fmt: skip
    named = sum(role == "admin" for role in roles.values())
    fine = f"{named} entr{'y' if named == 1 else 'ies'} for administrators"
    return [Finding("permissions", "warn", *each) for each in found] or [
        Finding("permissions", "ok", fine)
    ]
