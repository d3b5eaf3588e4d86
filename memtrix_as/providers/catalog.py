"""The configured models, over the providers that we, dropped files and installed packages offer."""

import ast
import inspect
import textwrap
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from types import ModuleType, NoneType, UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

from memtrix_as import config
from memtrix_as.errors import ConfigError
from memtrix_as.foreign import Broken, Loader
from memtrix_as.messages import Delta, Message, Reply, ToolSpec
from memtrix_as.providers.base import BaseProvider, Request
from memtrix_as.providers.plain import Plain

PACKAGE, KEY, GROUP = "memtrix_as.providers", "provider_directories", "memtrix_as.providers"


@dataclass(frozen=True)
class Model:
    """One configured model, ready to be asked."""

    name: str
    settings: config.Model
    provider: BaseProvider

    @property
    def context(self) -> int:
        """Tokens that the model sees at once, as configured."""
        return self.settings.context

    @property
    def tools(self) -> bool:
        """Whether it can call tools at all."""
        return self.settings.tools

    @property
    def vision(self) -> bool:
        """Whether it can see images."""
        return self.settings.vision

    def stream(
        self, messages: Sequence[Message], tools: Sequence[ToolSpec] = (), *, timeout: float = 600.0
    ) -> AsyncIterator[Delta | Reply]:
        """Ask it; see BaseProvider.stream."""
        s = self.settings
        return self.provider.stream(
            Request(
                s.model,
                messages,
                tools if s.tools else (),
                think=s.think,
                temperature=s.temperature,
                max_tokens=s.max_tokens,
                timeout=timeout,
                context=s.context,
            )
        )


class Models:
    """The configured models by name; `broken` tells of provider files that could not be used."""

    def __init__(
        self,
        models: Mapping[str, Model],
        providers: Mapping[str, BaseProvider] | None = None,
        broken: Sequence[Broken] = (),
    ) -> None:
        self._models = dict(models)
        self.providers = dict(providers or {})
        self.broken = tuple(broken)

    @classmethod
    def from_config(cls, settings: config.Config) -> "Models":
        """Build every configured provider; ConfigError names what is wrong with which key."""
        found = discover(settings.provider_directories)
        built = {
            name: build(name, section, found.kinds, found.broken)
            for name, section in settings.providers.items()
        }
        models = {name: Model(name, m, built[m.provider]) for name, m in settings.models.items()}
        return cls(models, built, found.broken)

    def get(self, name: str) -> Model:
        """Raises ConfigError when there is none of this name."""
        model = self._models.get(name)
        if model is None:
            raise ConfigError(f'There is no model "{name}"; there are: {_listed(self._models)}.')
        return model

    def names(self) -> list[str]:
        return list(self._models)

    def context(self, name: str) -> int:
        return self.get(name).context

    async def close(self) -> None:
        for provider in self.providers.values():
            await provider.close()


@dataclass(frozen=True)
class Found:
    """The provider classes by their type, and what could not be used."""

    kinds: Mapping[str, type[BaseProvider]]
    broken: tuple[Broken, ...] = ()


def discover(directories: Iterable[Path] = ()) -> Found:
    """Look everywhere. A type belongs to whoever has it first: we, then folders, then packages."""
    loader = Loader()
    kinds: dict[str, type[BaseProvider]] = {}
    parts = chain(
        loader.package(PACKAGE), loader.folders(directories, KEY), loader.installed(GROUP)
    )
    for part in parts:
        for kind in loader.attempt(part.where, partial(_kinds_of, part.value)) or ():
            where = f"{part.where}: {kind.__name__}"
            if loader.attempt(where, partial(_mute, kind)):
                loader.breaks(where, "has neither stream nor completions")
                continue
            name = loader.attempt(where, partial(_type, kind, part.name))
            if name and kinds.setdefault(name, kind) is not kind:
                loader.breaks(where, f"there is a provider of the type {name} already")
    return Found(kinds, tuple(loader.broken))


def _kinds_of(value: object) -> list[type[BaseProvider]]:
    """The classes that a module has, or the one that it is. Raises TypeError for all else."""
    if isinstance(value, ModuleType):
        return [
            kind
            for kind in vars(value).values()
            if issubclass(type(kind), type)  # isinstance() would ask it, and a proxy may raise
            and issubclass(kind, BaseProvider)
            and kind.__module__ == value.__name__
            and kind is not BaseProvider
            and kind is not Plain
            and not kind.__name__.startswith("_")
            and not inspect.isabstract(kind)
        ]
    if inspect.isclass(value) and issubclass(value, BaseProvider):
        return [value]
    raise TypeError(f"{value!r} is neither a provider's class nor a module with one")


def _mute(kind: type[BaseProvider]) -> bool:
    return kind.stream is BaseProvider.stream and kind.completions is BaseProvider.completions


def _type(kind: type[BaseProvider], file: str) -> str:
    """What stands as `type` in the configuration: see BaseProvider."""
    declared = getattr(kind, "type", None)
    return declared if isinstance(declared, str) else (_handed_on(kind) or file)


def _handed_on(kind: type[BaseProvider]) -> str | None:
    """The name in `super().__init__(name="…")`: read, since it has to be known before a call."""
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(kind.__init__)))
    except (OSError, TypeError, SyntaxError):
        return None
    for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
        if isinstance(call.func, ast.Attribute) and call.func.attr == "__init__":
            named = [word.value for word in call.keywords if word.arg == "name"]
            for value in (*named, *call.args):
                if isinstance(value, ast.Constant) and isinstance(value.value, str):
                    return value.value
    return None


def build(
    name: str,
    section: config.Provider,
    kinds: Mapping[str, type[BaseProvider]],
    broken: Sequence[Broken] = (),
) -> BaseProvider:
    """The provider that a section of the configuration describes."""
    kind = kinds.get(section.type)
    if kind is None:
        raise ConfigError(
            f'providers.{name}.type: there is no type "{section.type}"; '
            f"there are: {_listed(sorted(kinds))}"
            + "".join(f"; {b.where} cannot be used: {b.why}" for b in broken)
        )
    parameters = inspect.signature(kind).parameters
    hints = _hints(kind)
    known = [key for key, p in parameters.items() if p.kind is not p.VAR_KEYWORD]
    for key, value in section.options.items():
        at = f"providers.{name}.{key}"
        if key not in known:
            if len(known) < len(parameters):  # the class takes whatever it is given
                continue
            raise ConfigError(
                f"{at}: there is no such key; {section.type} knows: {_listed(known) or 'none'}"
            )
        if not _fits(value, hints.get(key, Any)):
            raise ConfigError(f"{at}: expected {_spoken(hints[key])}")
    for key in known:
        if parameters[key].default is inspect.Parameter.empty and key not in section.options:
            raise ConfigError(f"providers.{name}.{key}: is missing; {section.type} needs it")
    try:
        built = kind(**section.options)
    except ConfigError as exc:
        raise ConfigError(f"providers.{name}.{exc}") from exc
    except Exception as exc:  # the constructor may be a stranger's
        told = str(exc) if isinstance(exc, ValueError) else f"{type(exc).__name__}: {exc}"
        raise ConfigError(f"providers.{name}: {section.type} cannot be set up so: {told}") from exc
    return Plain(built, name) if kind.stream is BaseProvider.stream else built


def _hints(kind: type[BaseProvider]) -> dict[str, Any]:
    try:
        return get_type_hints(kind.__init__)
    except (NameError, TypeError):  # a stranger's, that names what is not there
        return {}


def _kinds(hint: Any) -> tuple[type, ...]:
    """The plain types that a hint allows, none if it is more than that."""
    parts = get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)
    plain = tuple(get_origin(part) or part for part in parts)
    # Any is a class since Python 3.11
    return plain if all(isinstance(part, type) and part is not Any for part in plain) else ()


def _fits(value: object, hint: Any) -> bool:
    kinds = _kinds(hint)
    if isinstance(value, bool):
        return not kinds or bool in kinds
    whole = float in kinds and isinstance(value, int)
    return not kinds or whole or isinstance(value, kinds)


def _spoken(hint: Any) -> str:
    words = {str: "text", int: "a whole number", float: "a number", bool: "true or false"}
    kinds = [kind for kind in _kinds(hint) if kind is not NoneType]
    return " or ".join(words.get(kind, kind.__name__) for kind in kinds)


def _listed(names: Sequence[str] | Mapping[str, Any]) -> str:
    return ", ".join(names)
