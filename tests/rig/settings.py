"""The configuration and the registration of the tests, as an operator would write them."""

import json
import secrets
from pathlib import Path

from memtrix_as import config
from memtrix_as.matrix import registration
from tests.rig.api import Json

DOMAIN = "hs.test"
MODEL = "test-model"


def settings(
    appservice: Json,
    homeserver: str,
    port: int,
    dsn: str,
    model_url: str = "http://127.0.0.1:9",
    software: str = "synapse",
) -> Json:
    """A whole config.yaml; of `appservice` the id and the tokens are used."""
    name = appservice["id"]
    return {
        "homeserver": {"address": homeserver, "domain": DOMAIN, "software": software},
        "appservice": {
            "address": homeserver,
            "hostname": "127.0.0.1",
            "port": port,
            "id": name,
            "bot_username": name,
            "username_template": f"{name}_{{name}}",
            "as_token": appservice["as_token"],
            "hs_token": appservice["hs_token"],
            "database": dsn,
        },
        "main_agent": {"name": "Memtrix", "model": MODEL},
        "providers": {
            "scripted": {"type": "openai_compatible", "base_url": model_url, "api_key": "k-test"}
        },
        "models": {MODEL: {"provider": "scripted", "model": "scripted"}},
        "permissions": {DOMAIN: "user"},
        # The two services of the tests share a homeserver, and no alias is theirs both.
        "management": {"room": f"#{name}-admin"},
        # torch takes ten seconds of a processor; the tests of memory set a model themselves
        "embeddings": {"model": "none"},
    }


def tokens(name: str) -> Json:
    return {"id": name, "as_token": secrets.token_hex(16), "hs_token": secrets.token_hex(16)}


def write(path: Path, values: Json) -> Path:
    """Write a config.yaml: JSON is YAML."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(values, indent=2))
    return path


def register(name: str, address: str, folder: Path) -> Json:
    """The registration that the product itself makes for a service of this id."""
    values = settings(tokens(name), address, 1, "embedded")
    path = write(folder / f"{name}.config.yaml", values)
    return registration.build(config.load_service(path))
