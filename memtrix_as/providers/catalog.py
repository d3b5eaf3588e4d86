"""The configured models, over the providers that this folder's files offer."""

import importlib
import inspect
import logging
import pkgutil
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from types import ModuleType, NoneType, UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

from memtrix_as import config, providers
from memtrix_as.errors import ConfigError
from memtrix_as.messages import Delta, Message, Reply, ToolSpec
from memtrix_as.providers.base import BaseProvider, Request

log = logging.getLogger(__name__)


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
    """The configured models by name; `broken` names provider files that could not be loaded."""

    def __init__(
        self,
        models: Mapping[str, Model],
        providers: Mapping[str, BaseProvider] | None = None,
        broken: Sequence[str] = (),
    ) -> None:
        self._models = dict(models)
        self.providers = dict(providers or {})
        self.broken = list(broken)

    @classmethod
    def from_config(cls, settings: config.Config) -> "Models":
        """Build every configured provider; ConfigError names what is wrong with which key."""
        kinds, broken = discover()
        built = {name: build(name, section, kinds) for name, section in settings.providers.items()}
        models = {name: Model(name, m, built[m.provider]) for name, m in settings.models.items()}
        return cls(models, built, broken)

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


def discover(package: ModuleType = providers) -> tuple[dict[str, type[BaseProvider]], list[str]]:
    """The provider classes of a package's files by type, and the files that cannot be loaded."""
    kinds: dict[str, type[BaseProvider]] = {}
    broken: list[str] = []
    for found in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
        try:
            module = importlib.import_module(found.name)
        # Anything may go wrong in a file that somebody dropped in; it disables itself only.
        except Exception:
            log.exception("The provider file %s cannot be loaded", found.name)
            broken.append(found.name)
            continue
        for kind in vars(module).values():
            if _is_provider(kind) and kind.__module__ == found.name:
                if kind.type in kinds:
                    log.error("%s: %s has the type %r too", found.name, kinds[kind.type], kind.type)
                    broken.append(found.name)
                else:
                    kinds[kind.type] = kind
    return kinds, broken


def build(
    name: str, section: config.Provider, kinds: Mapping[str, type[BaseProvider]]
) -> BaseProvider:
    """The provider that a section of the configuration describes."""
    kind = kinds.get(section.type)
    if kind is None:
        raise ConfigError(
            f'providers.{name}.type: there is no type "{section.type}"; '
            f"there are: {_listed(sorted(kinds))}"
        )
    parameters = inspect.signature(kind).parameters
    hints = get_type_hints(kind.__init__)
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
        return kind(**section.options)
    except ConfigError as exc:
        raise ConfigError(f"providers.{name}.{exc}") from exc
    except ValueError as exc:
        raise ConfigError(f"providers.{name}: {section.type} cannot be set up so: {exc}") from exc


def _is_provider(value: object) -> bool:
    return (
        inspect.isclass(value)
        and issubclass(value, BaseProvider)
        and not inspect.isabstract(value)
        and isinstance(getattr(value, "type", None), str)
    )


def _kinds(hint: Any) -> tuple[type, ...]:
    """The plain types that a hint allows, none if it is more than that."""
    parts = get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)
    plain = tuple(get_origin(part) or part for part in parts)
    return plain if all(isinstance(part, type) for part in plain) else ()


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
