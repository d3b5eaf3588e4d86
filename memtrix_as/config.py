"""The settings: read once from YAML, the environment and secret files, then frozen."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal
from zoneinfo import ZoneInfo

Role = Literal["none", "user", "admin"]


@dataclass(frozen=True)
class Homeserver:
    address: str
    domain: str
    software: str = "conduit"  # conduit, synapse, tuwunel, continuwuity


@dataclass(frozen=True)
class AppService:
    address: str
    hostname: str
    port: int
    as_token: str = field(repr=False)
    hs_token: str = field(repr=False)
    id: str = "memtrix"
    bot_username: str = "memtrix"
    username_template: str = "memtrix_{name}"
    database: str = field(default="embedded", repr=False)  # or a postgresql:// URL
    max_body_size: int = 64  # MiB of one transaction


@dataclass(frozen=True)
class MainAgent:
    name: str
    model: str
    verbose: bool = False
    reasoning: bool = False


@dataclass(frozen=True)
class Provider:
    """One configured provider; `options` are the keyword arguments of its class."""

    type: str
    options: Mapping[str, Any] = field(default_factory=dict, repr=False)


@dataclass(frozen=True)
class Model:
    provider: str
    model: str
    think: bool = False
    context: int = 8192  # tokens that the server really gives the model
    max_tokens: int | None = None
    temperature: float = 0.7
    tools: bool = True  # False for a model that cannot call tools at all


@dataclass(frozen=True)
class Limits:
    tool_rounds: int = 10
    turn_timeout: float = 600.0  # seconds
    approval_timeout: float = 600.0  # seconds
    concurrent_turns: int = 1000
    attempts: int = 5  # how often a turn that kills its process is begun
    catch_up_hours: float = 24.0  # messages older than this are not answered after a downtime
    streaming: bool = True
    edit_interval: float = 1.0  # seconds between two edits of a streamed answer
    edits_per_message: int = 60


@dataclass(frozen=True)
class Config:
    homeserver: Homeserver
    appservice: AppService
    main_agent: MainAgent
    providers: Mapping[str, Provider]
    models: Mapping[str, Model]
    permissions: Mapping[str, Role]
    data_directory: Path = Path("data")
    workspace_directory: Path = Path("workspace")
    agents_directory: Path = Path("agents")
    timezone: ZoneInfo = ZoneInfo("UTC")
    limits: Limits = Limits()
    logging: Mapping[str, Any] = field(default_factory=dict)
