"""The settings: read once from YAML, the environment and secret files, then frozen."""

import json
import os
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from secrets import token_urlsafe
from typing import Annotated, Any, Literal, TextIO
from zoneinfo import ZoneInfo

from memtrix_as.errors import ConfigError
from memtrix_as.settings import checks, document, logs, secrets
from memtrix_as.settings.budgets import Budget as Budget
from memtrix_as.settings.budgets import Budgets as Budgets
from memtrix_as.settings.budgets import Price as Price
from memtrix_as.settings.fields import REST, SECRET, Reader
from memtrix_as.settings.logs import about as about

Role = Literal["none", "user", "admin"]
UTC = ZoneInfo("UTC")

Url = Annotated[str, checks.url]
Name = Annotated[str, checks.not_empty]
Token = Annotated[str, SECRET, checks.token]
Count = Annotated[int, checks.between(1, 1_000_000)]
Seconds = Annotated[float, checks.between(0.001, 30 * 86400)]
Options = Annotated[Mapping[str, Any], REST, checks.options]
Software = Annotated[str, checks.one_of("conduit", "synapse", "tuwunel", "continuwuity")]


@dataclass(frozen=True)
class Homeserver:
    address: Url
    domain: Annotated[str, checks.domain]
    software: Software = "conduit"
    push_back_off: Seconds = 30.0  # seconds that it waits after a push that failed


@dataclass(frozen=True)
class AppService:
    address: Url
    hostname: Name
    port: Annotated[int, checks.between(1, 65535)]
    as_token: Token = field(repr=False)
    hs_token: Token = field(repr=False)
    id: Annotated[str, checks.identifier] = "memtrix"
    bot_username: Annotated[str, checks.username] = "memtrix"
    username_template: Annotated[str, checks.username_template] = "memtrix_{name}"
    # or a postgresql:// URL
    database: Annotated[str, SECRET, checks.database] = field(default="embedded", repr=False)
    max_body_size: Annotated[int, checks.between(1, 1024)] = 64  # MiB of one transaction

    @property
    def sender_localpart(self) -> str:
        """The user that the homeserver takes us for when we name none; it never speaks.

        Not the bot: a real token of the sender cannot sync on Synapse.
        """
        return f"_{self.id}_as"


@dataclass(frozen=True)
class MainAgent:
    name: Name
    model: Name
    verbose: bool = False
    reasoning: bool = False


@dataclass(frozen=True)
class Provider:
    """One configured provider; `options` are the keyword arguments of its class."""

    type: Name
    options: Annotated[Mapping[str, Any], REST, checks.options] = field(
        default_factory=dict, repr=False
    )


@dataclass(frozen=True)
class Model:
    provider: Name
    model: Name
    think: bool = False
    context: Annotated[int, checks.between(512, 100_000_000)] = 8192  # tokens the server gives it
    max_tokens: Count | None = None
    temperature: Annotated[float, checks.between(0, 2)] = 0.7
    tools: bool = True  # False for a model that cannot call tools at all
    vision: bool = False  # True for a model that can see images
    price: Price | None = None  # where the provider does not tell what a call cost


@dataclass(frozen=True)
class Embeddings:
    model: Name = "nomic-ai/nomic-embed-text-v1.5"  # a hub id or a folder; "none": words alone
    device: Name = "cpu"
    base_url: Url | None = None  # of a server with /v1/embeddings, which is asked instead
    api_key: Annotated[str, SECRET] | None = field(default=None, repr=False)


@dataclass(frozen=True)
class Memory:
    """What is remembered, of whom and for whom."""

    owner: Annotated[str, checks.user_id] | None = None  # None: the first who writes
    shared: bool = False  # what one human told may be found for others
    show_owner_files: bool = False  # USER.md and MEMORY.md also where others are present
    recall_tokens: Annotated[int, checks.between(0, 100_000)] = 800  # before a turn; 0: none
    upkeep: Annotated[Any, checks.minutes] = 30.0  # minutes of quiet; 0.0 when it is "none"
    core_file_size: Count = 16_000  # characters of a persona file that an agent may write


@dataclass(frozen=True)
class Search:
    searxng_url: Url | None = None  # None: no web search


@dataclass(frozen=True)
class Tools:
    directories: tuple[Path, ...] = ()
    disabled: tuple[Name, ...] = ()
    # ranges besides the public internet that tools may reach, such as 192.168.1.0/24
    allow_addresses: tuple[Annotated[str, checks.network], ...] = ()
    download_size: Annotated[int, checks.between(1, 100_000)] = 50  # MB of one downloaded file
    send_size: Annotated[int, checks.between(1, 100_000)] = 50  # MB of a file sent into a room


@dataclass(frozen=True)
class Management:
    room: Annotated[str, checks.alias] = "#memtrix-admin"


@dataclass(frozen=True)
class Metrics:
    """The port for those who watch the service; not the homeserver's."""

    hostname: Name = "127.0.0.1"
    port: Annotated[int, checks.between(1, 65535)] | None = None  # None: there is none


@dataclass(frozen=True)
class Limits:
    tool_rounds: Count = 10
    turn_timeout: Seconds = 600.0  # seconds
    answer_deadline: Seconds = 180.0  # seconds after which somebody who waits is told why
    approval_timeout: Seconds = 600.0  # seconds
    concurrent_turns: Count = 1000
    attempts: Count = 5  # how often a turn that kills its process is begun
    # messages older than this are not answered after a downtime
    catch_up_hours: Annotated[float, checks.between(0, 24 * 365)] = 24.0
    streaming: bool = True
    edit_interval: Seconds = 1.0  # seconds between two edits of a streamed answer
    edits_per_message: Annotated[int, checks.between(0, 10_000)] = 60
    attachment_size: Count = 50  # MB of a file that a human sends
    # MB of the files of one agent; 0: no limit
    workspace_size: Annotated[int, checks.between(0, 100_000_000)] = 2000
    consult_timeout: Seconds = 300.0  # seconds that an agent waits for another's answer
    consult_depth: Annotated[int, checks.between(1, 20)] = 3  # agents that wait for each other
    agent_hops: Annotated[int, checks.between(0, 20)] = 3  # agents that hand a message on
    agents: Annotated[int, checks.between(0, 100_000)] = 500  # sub-agents that there may be


@dataclass(frozen=True)
class Config:
    homeserver: Homeserver
    appservice: AppService
    main_agent: MainAgent
    providers: Annotated[Mapping[Name, Provider], checks.not_empty]
    models: Annotated[Mapping[Name, Model], checks.not_empty]
    permissions: Annotated[Mapping[Annotated[str, checks.who], Role], checks.not_empty]
    data_directory: Path = Path("data")
    workspace_directory: Path = Path("workspace")
    agents_directory: Path = Path("agents")
    provider_directories: tuple[Path, ...] = ()  # folders with provider files
    timezone: ZoneInfo = UTC
    limits: Limits = Limits()
    budgets: Budgets = field(default_factory=Budgets)
    logging: Annotated[Mapping[str, Any], checks.log_settings] = field(
        default_factory=dict, repr=False
    )
    embeddings: Embeddings = Embeddings()
    memory: Memory = Memory()
    search: Search = Search()
    tools: Tools = Tools()
    management: Management = Management()
    metrics: Metrics = Metrics()


def role(roles: Mapping[str, Role], user_id: str) -> Role:
    """What somebody may do: the full id counts first, then the domain, then `*`."""
    domain = user_id.partition(":")[2]
    return next((roles[k] for k in (user_id, domain, "*") if k in roles), "none")


@dataclass(frozen=True)
class Service:
    """What a registration is made of; the rest of the file may still be unfinished."""

    homeserver: Homeserver
    appservice: AppService
    management: Management
    fresh: Mapping[str, str] = field(default_factory=dict, repr=False)  # tokens made just now


redact = secrets.Redactor()  # redact(text): known secret values become [secret]
_handed_over: dict[str, str] = {}  # secrets that came through `clean_environment`

MOST = 50  # problems of one file that are told
SECRETS = "secrets"  # a folder beside the configuration, with a file for each
_HANDOVER = "MEMTRIX_HANDOVER_FD"


def load(path: Path) -> Config:
    """The whole configuration; ConfigError tells everything that is wrong, a line each."""
    raw = document.read(path)
    section = raw.get("appservice")
    if isinstance(section, dict):  # so that an absent token is told with the way to make one
        section |= {name: section.get(name) or "" for name in ("as_token", "hs_token")}
    reader = _reader(path)
    config = reader.section(Config, raw)
    reader.problems += _disagreements(raw)
    _stop_at(reader.problems, path)
    assert isinstance(config, Config)
    model = config.embeddings.model
    if model.startswith((".", "~")):  # a folder, and no name on a hub
        found = replace(config.embeddings, model=str(reader.folder_of("embeddings.model", model)))
        _stop_at(reader.problems, path)
        config = replace(config, embeddings=found)
    return config


def load_service(path: Path, new_tokens: bool = False) -> Service:
    """Only the sections that a registration needs; a missing token is made, but not written.

    `new_tokens` makes new ones in place of those that stand in the file; a `$NAME` stays.
    """
    raw = document.read(path)
    reader = _reader(path)
    given = raw.get("appservice")
    section = {**given} if isinstance(given, dict) else {}
    fresh = {
        name: token_urlsafe(48)
        for name in ("as_token", "hs_token")
        if checks.is_placeholder_token(token := section.get(name))
        or (new_tokens and not str(token).startswith("$"))
    }
    section |= fresh
    parts = {
        "homeserver": reader.section(Homeserver, raw.get("homeserver") or {}, "homeserver"),
        "appservice": reader.section(AppService, section, "appservice"),
        "management": reader.section(Management, raw.get("management") or {}, "management"),
    }
    reader.problems += _disagreements(raw)
    _stop_at(reader.problems, path)
    return Service(**parts, fresh=fresh)


def _reader(path: Path) -> Reader:
    return Reader(path.absolute().parent, lambda name: _secret(name, path), redact.learn)


def _secret(name: str, path: Path) -> str:
    own = path.absolute().parent / SECRETS
    return secrets.find(name, {**os.environ, **_handed_over}, own=own)


def _stop_at(problems: Sequence[str], path: Path) -> None:
    if problems:
        more = [f"and {len(problems) - MOST} more"] if len(problems) > MOST else []
        lines = "".join(f"\n  {problem}" for problem in [*problems[:MOST], *more])
        raise ConfigError(redact(f"{path} cannot be used:{lines}"))


def _disagreements(raw: Mapping[str, Any]) -> list[str]:
    """What is wrong between keys. Reads the file itself, so that it is told with the rest."""
    problems = []
    models, providers = raw.get("models"), raw.get("providers")
    known = providers if isinstance(providers, dict) else {}
    main = raw.get("main_agent")
    if isinstance(models, dict):
        for name, model in models.items():
            provider = model.get("provider") if isinstance(model, dict) else None
            if isinstance(provider, str) and provider not in known:
                problems.append(f'models.{name}.provider: "{provider}" is not one of the providers')
        wanted = main.get("model") if isinstance(main, dict) else None
        if isinstance(wanted, str) and wanted not in models:
            problems.append(f'main_agent.model: "{wanted}" is not one of the models')
    return problems + _clashes(raw) + _foreign_room(raw)


def _foreign_room(raw: Mapping[str, Any]) -> list[str]:
    management, homeserver = raw.get("management"), raw.get("homeserver")
    room = management.get("room") if isinstance(management, dict) else None
    domain = homeserver.get("domain") if isinstance(homeserver, dict) else None
    if isinstance(room, str) and ":" in room and room.partition(":")[2] != domain:
        return [f"management.room: must be on our own homeserver, {domain}"]
    return []


def _clashes(raw: Mapping[str, Any]) -> list[str]:
    section = raw.get("appservice")
    section = section if isinstance(section, dict) else {}
    template = section.get("username_template", AppService.username_template)
    try:
        pattern = checks.username_pattern(checks.username_template(template))
    except (ValueError, AttributeError):
        return []  # told by the reader already
    names = {
        "bot_username": section.get("bot_username", AppService.bot_username),
        "id": f"_{section.get('id', AppService.id)}_as",
    }
    problems = [
        f'appservice.{key}: the user name "{name}" would also fit username_template '
        f'"{template}"; a sub-agent could take it'
        for key, name in names.items()
        if re.fullmatch(pattern, str(name))
    ]
    tokens = section.get("as_token"), section.get("hs_token")
    if tokens[0] == tokens[1] and not checks.is_placeholder_token(tokens[0]):
        problems.append("appservice.hs_token: is the same as as_token; they must differ")
    if names["bot_username"] == names["id"]:
        problems.append(f'appservice.bot_username: "{names["id"]}" is kept for the service itself')
    return problems


def clean_environment(argv: Sequence[str]) -> None:
    """Start this process anew without the secrets in its environment; returns if there are none.

    Removing them from `os.environ` is not enough: /proc/self/environ shows what a process was
    started with. The values pass through a pipe. Call it first thing, before threads and files;
    `argv` is `sys.argv`.
    """
    if (number := os.environ.pop(_HANDOVER, None)) is not None:
        try:
            with open(int(number), "rb") as pipe:
                _handed_over.update(json.load(pipe))
        except (OSError, ValueError) as exc:
            raise ConfigError(f"{_HANDOVER} is set, but not by Memtrix; unset it.") from exc
    found = secrets.in_environment(os.environ)
    if not found:
        return
    read_end, write_end = os.pipe()
    os.set_blocking(write_end, False)
    data = json.dumps({**_handed_over, **found}).encode()
    try:
        whole = os.write(write_end, data) == len(data)
    except BlockingIOError:
        whole = False
    if not whole:
        raise ConfigError("The secrets in the environment are too long; give them by files.")
    os.close(write_end)
    os.set_inheritable(read_end, True)
    clean = {name: value for name, value in os.environ.items() if name not in found}
    clean[_HANDOVER] = str(read_end)
    sys.stdout.flush()
    os.execve(sys.executable, [sys.executable, "-m", "memtrix_as", *argv[1:]], clean)


def child_environment() -> dict[str, str]:
    """The environment for a process that we start: ours without anything about secrets."""
    ours = (secrets.PREFIX, _HANDOVER)
    return {name: value for name, value in os.environ.items() if not name.startswith(ours)}


def environment(name: str) -> str | None:
    """One environment variable by name; an empty one counts as absent."""
    return os.environ.get(name) or None


def secret(name: str, path: Path) -> str:
    """The secret `$name`, for a command that needs one which the configuration does not name."""
    try:
        value = _secret(name, path)
    except LookupError as exc:
        raise ConfigError(f"{exc.args[0]}.") from exc
    redact.learn(value)
    return value


def setup_logging(config: Config, *, to: TextIO | None = None, level: str | None = None) -> None:
    """Log to stderr as `logging:` says, with every known secret taken out.

    `to` is for who keeps stderr for something else, and `level` for who keeps it quiet.
    """
    settings: Mapping[str, Any] = config.logging
    if to is not None:
        known = {key: value for key, value in settings.items() if key in ("level", "loggers")}
        settings = {"level": level} if level else {} if "version" in settings else known
    try:
        logs.setup(settings, redact, to)
    except ValueError as exc:
        raise ConfigError(redact(f"logging: {exc}")) from exc
