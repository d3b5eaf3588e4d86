"""The wizard's steps about language models: providers, each tried out, and models of theirs."""

import asyncio
import inspect
import re
import sys
from collections.abc import Mapping
from inspect import Parameter
from typing import Any, get_type_hints

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from memtrix_as import config
from memtrix_as.agent.names import slug
from memtrix_as.errors import ConfigError, MemtrixError, ModelError
from memtrix_as.messages import Delta, Message
from memtrix_as.providers import catalog
from memtrix_as.providers.base import BaseProvider
from memtrix_as.settings import checks
from memtrix_as.terminal import spending
from memtrix_as.terminal.asking import Check, Key, anything, needed
from memtrix_as.terminal.wizard import Wizard

Kinds = Mapping[str, type[BaseProvider]]

SECRET = re.compile("key|token|secret|password")  # in a parameter's name
PATIENCE = 180.0  # seconds for a first word: a local model is loaded then
SHOWN = 25  # models of a list
FLAGS = {
    "think": ("Shall it think first, if it can?", False),
    "vision": ("Can it see pictures?", False),
    "tools": ("Can it call tools?", True),
}
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
KEPT, AGAIN, DROPPED = "keep", "again", "drop"


async def providers(wizard: Wizard) -> None:
    asker, draft = wizard.asker, wizard.draft
    have = draft.get("providers", default={})
    old = ", ".join(draft.get("provider_directories", default=[]))
    folder = asker.text(
        ("provider_directories",), "A folder with provider files of your own, if any", old, anything
    )
    if folder and folder != old:
        draft.set("provider_directories", value=[folder])
    directories = draft.get("provider_directories", default=[])
    found = catalog.discover(draft.path.parent / path for path in directories)
    for broken in found.broken:
        asker.say(f"{broken.where} cannot be used: {broken.why}", "yellow")
    for name in _removed(wizard, "providers", have):
        del have[name]
        used = draft.get("models", default={})
        for model in [m for m, section in used.items() if section.get("provider") == name]:
            del used[model]
            asker.say(f"Without {name} there is no {model}.", "yellow")
    for given in asker.names(("providers",), "Set up another provider?", bool(have)):
        await _provider(wizard, found.kinds, given)


def _removed(wizard: Wizard, what: str, have: Mapping[str, Any]) -> list[str]:
    """Which of those that there are the human takes out."""
    asker = wizard.asker
    if not have:
        return []
    asker.say(f"There are: {', '.join(have)}.")

    def check(text: str) -> str:
        unknown = [name for name in _NAME.findall(text) if name not in have]
        if unknown:
            raise ValueError(f"there is no {unknown[0]} to take out")
        return text

    question = f"Take {what} out? Their names, or nothing to keep all"
    text = asker.text(("remove", what), question, "", check)
    return list(dict.fromkeys(_NAME.findall(text)))


async def _provider(wizard: Wizard, kinds: Kinds, given: str) -> None:
    asker, draft = wizard.asker, wizard.draft
    at = ("providers", given)
    offered = {kind: _told(kinds[kind]) for kind in sorted(kinds)}
    while True:
        before = draft.get("providers", given, "type", default="ollama") if given else "ollama"
        kind = asker.choose((*at, "type"), "Which kind of provider?", offered, before)
        name = given or asker.text(at, "Your name for it", f"my-{kind.replace('_', '-')}", _name)
        old = draft.get("providers", name, default={})
        old = old if old.get("type") == kind else {}
        section = {"type": kind} | _options(wizard, (at[0], given or name), kinds[kind], old)
        why = await _try_provider(wizard, name, section, kinds)
        if not why:
            break
        asker.say(why, "yellow")
        if not asker.attended:
            asker.say("It is kept all the same: perhaps it only does not run right now.")
            break
        choices = {AGAIN: "ask once more", KEPT: "it will work later", DROPPED: "forget it"}
        what = asker.choose((), "What now?", choices, AGAIN)
        if what == DROPPED:
            return
        if what == KEPT:
            break
    draft.set("providers", name, value=section)


def _told(kind: type[BaseProvider]) -> str:
    """The first line of its file."""
    text = inspect.getdoc(sys.modules[kind.__module__]) or ""
    return text.split("\n")[0].rstrip(".")


def _name(text: str) -> str:
    if not _NAME.fullmatch(text):
        raise ValueError("found {found}, expected letters, digits and . _ - only")
    return text


def _options(
    wizard: Wizard, at: Key, kind: type[BaseProvider], old: Mapping[str, Any]
) -> dict[str, Any]:
    """The constructor's parameters as questions; what is left at its default is left out."""
    parameters = {
        key: p
        for key, p in inspect.signature(kind).parameters.items()
        if p.kind not in (Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD)
    }
    first = [
        key
        for key, p in parameters.items()
        if p.default is Parameter.empty or SECRET.search(key) or key.endswith("_url") or key in old
    ]
    rest = [key for key in parameters if key not in first]
    hints = _hints(kind)

    def ask(keys: list[str]) -> dict[str, Any]:
        return {
            key: _option(wizard, (*at, key), parameters[key], hints.get(key, str), old.get(key))
            for key in keys
        }

    values = ask(first)
    more = f"Change anything else ({', '.join(rest)})?"
    if rest and (not wizard.asker.attended or wizard.asker.yes((), more, False)):
        values |= ask(rest)
    return {key: value for key, value in values.items() if value is not None}


def _hints(kind: type[BaseProvider]) -> dict[str, Any]:
    try:
        return get_type_hints(kind.__init__)
    except (NameError, TypeError):  # a stranger's, that names what is not there
        return {}


def _option(wizard: Wizard, at: Key, parameter: Parameter, hint: Any, old: Any) -> Any:
    key, needs = at[-1], parameter.default is Parameter.empty
    if SECRET.search(key):
        return _secret(wizard, at, old, needs)
    if hint is bool:
        answer = wizard.asker.yes(at, key, bool(parameter.default if old is None else old))
        return answer if needs or answer != parameter.default else None
    default = old if old is not None else ("" if needs else parameter.default)
    shown = "" if default is None else str(default)
    if wizard.compose and key.endswith("_url"):  # this machine, as a container calls it
        shown = re.sub(r"//(localhost|127\.0\.0\.1)\b", "//host.docker.internal", shown)
    text = wizard.asker.text(at, key, shown, _checked(key, hint, needs))
    if not text or (not needs and old is None and text == str(parameter.default)):
        return text if key.endswith("_url") and text else None
    return _read(hint, text)


def _checked(key: str, hint: Any, needs: bool) -> Check:
    def check(text: str) -> str:
        if not text and not needs:
            return text
        needed(text)
        _read(hint, text)
        return checks.url(text) if key.endswith("_url") else text

    return check


def _read(hint: Any, text: str) -> Any:
    """What the parameter takes, of what was typed: text as it is, all else as in YAML."""
    if hint is str or hint is Any:
        return text
    try:
        value = YAML(typ="safe", pure=True).load(text)
    except YAMLError:
        raise ValueError("cannot be read; write it as in YAML") from None
    if hint in (int, float) and (isinstance(value, bool) or not isinstance(value, int | float)):
        raise ValueError("found {found}, expected a number")
    return value


def _secret(wizard: Wizard, at: Key, old: Any, needs: bool) -> str | None:
    """A secret is kept in a file of its own; the configuration has its name."""
    draft = wizard.draft

    def check(text: str) -> str:
        if not text and not needs:
            return text
        if needed(text).startswith("$"):
            try:
                draft.reveal(text)
            except ConfigError as exc:
                raise ValueError(str(exc).rstrip(".")) from None
        return text.strip()

    key = at[-1] if needs else f"{at[-1]} (if it wants one)"
    text = wizard.asker.text(at, key, old or "", check, secret=True)
    if not text or text.startswith("$"):
        return text or None
    name = re.sub(r"\W", "_", f"{at[1]}_{at[-1]}", flags=re.ASCII).upper().removeprefix("MY_")
    return draft.secret(f"MY_{name}" if name[0].isdigit() else name, text)


async def _try_provider(wizard: Wizard, name: str, section: Mapping[str, Any], kinds: Kinds) -> str:
    """Ask it for its models, which are kept for the next step; empty, or what is wrong."""
    try:
        provider = _built(wizard, name, section, kinds)
    except ConfigError as exc:
        return str(exc)
    try:
        if not wizard.tries:
            return ""
        async with asyncio.timeout(PATIENCE):
            wizard.listed[name] = await provider.models()
        wizard.asker.say(f"{name} answers, and has {len(wizard.listed[name])} models.", "green")
        return ""
    except TimeoutError:
        return f"{name} does not answer."
    except ModelError as exc:
        if type(exc) is ModelError:  # it is one that has no list
            wizard.asker.say(f"{exc} A model will show whether it works.")
            return ""
        return str(exc)
    finally:
        await provider.close()


def _built(wizard: Wizard, name: str, section: Mapping[str, Any], kinds: Kinds) -> BaseProvider:
    options = {k: wizard.draft.reveal(v) for k, v in section.items() if k != "type"}
    return catalog.build(name, config.Provider(section["type"], options), kinds)


# --- models ------------------------------------------------------------------------------------


async def models(wizard: Wizard) -> None:
    asker, draft = wizard.asker, wizard.draft
    have = draft.get("models", default={})
    for name in _removed(wizard, "models", have):
        del have[name]
    for given in asker.names(("models",), "Set up another model?", bool(have)):
        await _model(wizard, given)
    names = draft.get("models")
    before = draft.get("main_agent", "model")
    default = before if before in names else next(iter(names))
    chosen = default
    if len(names) > 1 or not asker.attended:
        offered = {name: names[name]["model"] for name in names}
        chosen = asker.choose(("model",), "Which one does the agent use?", offered, default)
    draft.set("main_agent", "model", value=chosen)


async def _model(wizard: Wizard, given: str) -> None:
    asker, draft = wizard.asker, wizard.draft
    at = ("models", given)
    while True:
        offered = {name: s["type"] for name, s in draft.get("providers").items()}
        old = draft.get("models", given, default={}) if given else {}
        first = old.get("provider") or next(reversed(offered))
        provider = asker.choose((*at, "provider"), "Whose model is it?", offered, first)
        model = _which(wizard, at, provider, old.get("model", ""))
        name = given or asker.text(at, "Your name for it", slug(model), _name)
        old = draft.get("models", name, default={})
        at = (at[0], given or name)
        context = asker.text(
            (*at, "context"), "Tokens of context that its server gives it",
            str(old.get("context", 8192)), _context,
        )  # fmt: skip
        flags = {
            key: asker.yes((*at, key), question, old.get(key, default))
            for key, (question, default) in FLAGS.items()
        }
        old = {"temperature": 0.7} | old
        section = old | {"provider": provider, "model": model, "context": int(context)} | flags
        section = spending.priced(asker, (*at, "price"), section, draft.get("providers", provider))
        why = await _try_model(wizard, name, section) if wizard.tries else ""
        if why:
            asker.say(why, "yellow")
        if not why or not asker.attended:
            break
        choices = {AGAIN: "ask once more", KEPT: "it will work later"}
        if asker.choose((), "What now?", choices, AGAIN) == KEPT:
            break
        at = ("models", given)
    draft.set("models", name, value=section)


def _which(wizard: Wizard, at: Key, provider: str, old: str) -> str:
    listed = wizard.listed.get(provider, [])
    if listed and wizard.asker.attended:
        more = f", … {len(listed) - SHOWN} more" if len(listed) > SHOWN else ""
        wizard.asker.say(f"{provider} has: {', '.join(listed[:SHOWN])}{more}")
    default = old or (listed[0] if len(listed) == 1 else "")
    while True:
        model = wizard.asker.text((*at, "model"), "The model's name there", default)
        if not listed or model in listed or f"{model}:latest" in listed:
            return model
        wizard.asker.say(f"{provider} does not list {model}.", "yellow")
        if not wizard.asker.attended or wizard.asker.yes((), "Take it all the same?", False):
            return model


def _context(text: str) -> str:
    if not text.isdigit() or not 512 <= int(text) <= 100_000_000:
        raise ValueError("found {found}, expected a number of tokens from 512")
    return text


async def _try_model(wizard: Wizard, name: str, section: Mapping[str, Any]) -> str:
    """Let it say something; empty, or what is wrong."""
    draft = wizard.draft
    directories = draft.get("provider_directories", default=[])
    kinds = catalog.discover(draft.path.parent / path for path in directories).kinds
    wizard.asker.say(f"Asking {name} for a word …")
    try:
        provider = _built(
            wizard, section["provider"], draft.get("providers", section["provider"]), kinds
        )
    except ConfigError as exc:
        return str(exc)
    try:
        settings = {key: value for key, value in section.items() if key != "price"}
        model = catalog.Model(name, config.Model(**settings), provider)
        said = ""
        question = Message(role="user", text="Say hello in one short sentence.")
        async for piece in model.stream([question], timeout=PATIENCE):
            said += piece.text if isinstance(piece, Delta) else ""
        wizard.asker.say(f"{name}: {' '.join(said.split())[:100]}", "green")
        return ""
    except MemtrixError as exc:
        return str(exc)
    finally:
        await provider.close()
