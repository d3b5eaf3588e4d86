"""The wizard's steps about the agent, where one talks to it, and who may."""

import argparse
import secrets

import aiohttp
from rich.console import Console

from memtrix_as import config
from memtrix_as.agent import names
from memtrix_as.errors import ConfigError, PeopleError
from memtrix_as.matrix import admin_room
from memtrix_as.settings import checks
from memtrix_as.terminal.asking import anything, needed
from memtrix_as.terminal.registering import Registering, secret_from
from memtrix_as.terminal.wizard import Wizard

SOFTWARE = {
    "conduit": "registered by ourselves, in its admin room",
    "tuwunel": "likewise",
    "continuwuity": "likewise",
    "synapse": "reads the registration from a file",
}
CREATE, LOGIN, LATER = "create", "login", "later"
TOKEN = "CONDUIT_REGISTRATION_TOKEN"


async def agent(wizard: Wizard) -> None:
    def check(text: str) -> str:
        try:
            return names.cleaned(text)
        except PeopleError as exc:
            raise ValueError(str(exc).rstrip(".")) from None

    asker, draft = wizard.asker, wizard.draft
    old = draft.get("main_agent", "name", default="Memtrix")
    name = asker.text(("name",), "What is your agent called?", old, check)
    draft.set("main_agent", "name", value=name)
    known = draft.get("appservice", "bot_username") or names.slug(name)
    user = asker.text(("username",), "Its user name on the homeserver", known, checks.username)
    draft.set("appservice", "bot_username", value=user)


async def homeserver(wizard: Wizard) -> None:
    asker, draft = wizard.asker, wizard.draft
    if not wizard.compose:
        ways = {"matrix": "recommended: any Matrix client", "cli": "this terminal alone"}
        channel = asker.choose(("channel",), "Where do you talk to it?", ways, "matrix")
        wizard.matrix = channel == "matrix"
    if wizard.compose:
        asker.say(f"The homeserver of docker-compose.yml: {draft.get('homeserver', 'domain')}.")
    elif wizard.matrix:
        await _homeserver(wizard)
        _appservice(wizard)
    else:
        _defaults(wizard)


async def _homeserver(wizard: Wizard) -> None:
    asker, draft = wizard.asker, wizard.draft
    old = draft.get("homeserver", "software", default="conduit")
    software = asker.choose(("homeserver", "software"), "Which homeserver?", SOFTWARE, old)
    draft.set("homeserver", "software", value=software)
    old = draft.get("homeserver", "domain", default="memtrix.local")
    question = "Its name, what follows the colon in @you:name"
    domain = asker.text(("homeserver", "domain"), question, old, checks.domain)
    draft.set("homeserver", "domain", value=domain)
    old = draft.get("homeserver", "address", default="http://localhost:6167")
    while True:
        url = asker.text(("homeserver", "address"), "Its address", old, checks.url)
        why = await _try_homeserver(url) if wizard.tries else ""
        if not why:
            break
        asker.say(f"{url} {why}.", "yellow")
        if not asker.attended or asker.yes((), "Take it all the same?", False):
            break
    draft.set("homeserver", "address", value=url)


async def _try_homeserver(url: str) -> str:
    timeout = aiohttp.ClientTimeout(total=15)
    try:
        async with aiohttp.ClientSession(timeout=timeout) as http:
            async with http.get(f"{url}/_matrix/client/versions") as answer:
                told = await answer.json(content_type=None)
    except (aiohttp.ClientError, OSError, TimeoutError):
        return "does not answer"
    except ValueError:
        return "is no homeserver"
    return "" if isinstance(told, dict) and "versions" in told else "is no homeserver"


def _appservice(wizard: Wizard) -> None:
    def port(text: str) -> str:
        if not text.isdigit() or not 1 <= int(text) <= 65535:
            raise ValueError("found {found}, expected a number from 1 to 65535")
        return text

    def database(text: str) -> str:
        return text if text.startswith("$") else checks.database(text)

    asker, draft = wizard.asker, wizard.draft
    old = str(draft.get("appservice", "port", default=29345))
    number = asker.text(("appservice", "port"), "The port on which we listen", old, port)
    old = draft.get("appservice", "address", default=f"http://localhost:{number}")
    question = "Our address, as the homeserver finds us"
    url = asker.text(("appservice", "address"), question, old, checks.url)
    near = "127.0.0.1" if "//localhost" in url or "//127." in url else "0.0.0.0"
    old = draft.get("appservice", "hostname", default=near)
    host = asker.text(("appservice", "hostname"), "The interface on which we listen", old)
    old = draft.get("appservice", "database", default="embedded")
    question = "The database: embedded, or a postgresql:// address"
    dsn = asker.text(("appservice", "database"), question, old, database, secret="//" in old)
    if "@" in dsn:
        dsn = draft.secret("DATABASE_URL", dsn)
    values = {"port": int(number), "address": url, "hostname": host, "database": dsn}
    for key, value in values.items():
        draft.set("appservice", key, value=value)


def _defaults(wizard: Wizard) -> None:
    """What a configuration needs though nobody uses it in the terminal."""
    for section, key, value in (
        ("homeserver", "address", "http://localhost:6167"),
        ("homeserver", "domain", "memtrix.local"),
        ("homeserver", "software", "conduit"),
        ("appservice", "address", "http://localhost:29345"),
        ("appservice", "hostname", "127.0.0.1"),
        ("appservice", "port", 29345),
        ("appservice", "database", "embedded"),
    ):
        if not wizard.draft.get(section, key):
            wizard.draft.set(section, key, value=value)


async def people(wizard: Wizard) -> None:
    asker, draft = wizard.asker, wizard.draft
    domain = draft.get("homeserver", "domain")
    have = draft.get("permissions", default={})

    def check(text: str) -> str:
        text = needed(text).lower() if ":" not in text else text
        user = checks.who(text if ":" in text else f"@{text.lstrip('@')}:{domain}")
        if not user.startswith("@"):
            raise ValueError("found {found}, expected a Matrix id such as @ann:memtrix.local")
        bot = draft.get("appservice", "bot_username")
        if user == f"@{bot}:{domain}":
            raise ValueError("is the agent's own name; yours has to be another")
        return user

    old = next((who for who, role in have.items() if role == "admin"), "")
    question = f"Your Matrix id (you will be its administrator; without a domain, {domain})"
    user = asker.text(("user",), question, old, check)
    others = asker.yes(
        ("others",), f"May everybody on {domain} talk to it?", have.get(domain, "user") != "none"
    )
    kept = {who: role for who, role in have.items() if who not in ("*", domain, user)}
    wide = {"*": have.get("*", "none"), domain: "user" if others else "none"}
    draft.set("permissions", value={**wide, **kept, user: "admin"})


# --- registration ------------------------------------------------------------------------------


def plan(wizard: Wizard) -> None:
    """Decide how to register, and ask for what that needs; it is done once all is written."""
    asker, draft, at = wizard.asker, wizard.draft, "registration"
    if draft.get("homeserver", "software", default="conduit") not in admin_room.COMMANDS:
        return
    ways = {
        CREATE: "make your account first; the first one is the administrator's",
        LOGIN: "there is an administrator's account",
        LATER: "not now",
    }
    first = wizard.compose and draft.new
    default = (CREATE if first else LOGIN) if asker.attended else LATER
    how = asker.choose((at, "how"), "How do we register with the homeserver?", ways, default)
    if how == LATER:
        return
    admin = next(who for who, role in draft.get("permissions").items() if role == "admin")
    user = asker.text((at, "user"), "Administrator of the homeserver", admin)
    account = {"how": how, "user": user, "password": _password(wizard, how, user)}
    if how == CREATE:
        token = f"${TOKEN}" if wizard.compose else ""
        question = "Registration token: a file, or $NAME of a secret, if it wants one"
        source = asker.text((at, "token_from"), question, token, _source(wizard))
        account["token"] = source
    wizard.account = account


def _source(wizard: Wizard):  # type: ignore[no-untyped-def]
    def check(text: str) -> str:
        try:
            return secret_from(text, wizard.draft.path)
        except ConfigError as exc:
            raise ValueError(str(exc).rstrip(".")) from None

    return check


def _password(wizard: Wizard, how: str, user: str) -> str:
    asker, at = wizard.asker, "registration"
    if not asker.attended:
        return asker.text((at, "password_from"), "", "", lambda t: needed(_source(wizard)(t)))
    if how == LOGIN:
        password = asker.text((at, "password"), f"Password of {user}", "", needed, secret=True)
    else:
        question = f"A password for {user}; type nothing to have one made"
        password = asker.text((at, "password"), question, "", anything, secret=True)
        if not password:
            password = wizard.made_password = secrets.token_urlsafe(18)
            return password  # it has to be shown once, and so is not redacted
        again = asker.text((at, "password"), "Once more", "", anything, secret=True)
        if again != password:
            asker.say("  The two differ.", "red")
            return _password(wizard, how, user)
    config.redact.learn(password)
    return password


async def register(wizard: Wizard, console: Console) -> int:
    """Carry out the plan; the exit status."""
    account, path = wizard.account, wizard.draft.path
    file = path.parent / "registration.yaml"
    if not account:
        service = config.load_service(path)
        how = admin_room.by_hand(service.homeserver, service.appservice.id, file)
        wizard.asker.say(f"To register: {how}")
        return 0
    options = argparse.Namespace(
        config=path, registration=file, user=account["user"], create=account["how"] == CREATE,
        check=False, timeout=30.0, new_tokens=False, password_from=None, token_from=None,
    )  # fmt: skip
    return await Registering(options, console, account["password"], account.get("token", "")).run()
