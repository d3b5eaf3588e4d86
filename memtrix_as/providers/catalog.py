"""The configured models, over the providers that this folder's files offer."""

import importlib
import inspect
import logging
import pkgutil
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass

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
        return self.settings.context

    @property
    def tools(self) -> bool:
        return self.settings.tools

    def stream(
        self, messages: Sequence[Message], tools: Sequence[ToolSpec], *, timeout: float
    ) -> AsyncIterator[Delta | Reply]:
        """Ask it; see BaseProvider.stream."""
        s = self.settings
        return self.provider.stream(
            Request(
                s.model, messages, tools, s.think, s.temperature, s.max_tokens, timeout, s.context
            )
        )


class Models:
    """The configured models by name."""

    def __init__(self, models: Mapping[str, Model]) -> None:
        self._models = dict(models)

    @classmethod
    def from_config(cls, settings: config.Config) -> "Models":
        """Build every configured provider; ConfigError names what is wrong with which key."""
        kinds, _ = discover()
        built = {name: _build(name, section, kinds) for name, section in settings.providers.items()}
        return cls({name: Model(name, m, built[m.provider]) for name, m in settings.models.items()})

    def get(self, name: str) -> Model:
        try:
            return self._models[name]
        except KeyError:
            raise ConfigError(
                f"There is no model {name!r}; `models` has {', '.join(self._models)}."
            ) from None

    def names(self) -> list[str]:
        return list(self._models)

    async def close(self) -> None:
        for provider in {id(m.provider): m.provider for m in self._models.values()}.values():
            await provider.close()


def discover() -> tuple[dict[str, type[BaseProvider]], list[str]]:
    """The provider classes of this folder by type, and the files that could not be loaded."""
    kinds: dict[str, type[BaseProvider]] = {}
    broken: list[str] = []
    for found in pkgutil.iter_modules(providers.__path__, f"{providers.__name__}."):
        try:
            module = importlib.import_module(found.name)
        except Exception:  # a broken file disables itself, and nothing else
            log.exception("The provider file %s is broken", found.name)
            broken.append(found.name)
            continue
        for value in vars(module).values():
            if (
                inspect.isclass(value)
                and issubclass(value, BaseProvider)
                and not inspect.isabstract(value)
                and value.__module__ == found.name
            ):
                kinds[value.type] = value
    return kinds, broken


def _build(
    name: str, section: config.Provider, kinds: Mapping[str, type[BaseProvider]]
) -> BaseProvider:
    if section.type not in kinds:
        raise ConfigError(
            f"providers.{name}.type: there is no {section.type!r}; there are {', '.join(kinds)}."
        )
    kind = kinds[section.type]
    parameters = inspect.signature(kind).parameters
    for key in section.options:
        if key not in parameters:
            raise ConfigError(
                f"providers.{name}.{key}: {section.type} knows {', '.join(parameters)}."
            )
    for key, parameter in parameters.items():
        if parameter.default is parameter.empty and key not in section.options:
            raise ConfigError(f"providers.{name}.{key}: {section.type} needs it.")
    return kind(**section.options)
