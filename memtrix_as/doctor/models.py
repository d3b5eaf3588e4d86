"""Providers, the models behind them, and the embeddings: asked the way that the service asks."""

import asyncio
import difflib
from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack, aclosing
from dataclasses import replace
from functools import partial
from pathlib import Path

from memtrix_as.config import Config
from memtrix_as.doctor.check import Ailing, Check, Finding, State
from memtrix_as.errors import (
    ConfigError,
    ModelEmpty,
    ModelError,
    ModelQuota,
    ModelRefused,
    ModelTimeout,
    ModelUnreachable,
)
from memtrix_as.foreign import in_thread
from memtrix_as.memory import embedder
from memtrix_as.messages import Message, Reply
from memtrix_as.providers import catalog
from memtrix_as.providers.base import BaseProvider

ANSWER = 12.0  # seconds for the answer to a tiny question
TINY = Message("user", "Answer with the one word OK.")
SMALL = 4096  # tokens: with less, prompt and tools leave no room for a conversation


class Providers:
    """The providers of a configuration, built by the first check for those behind it."""

    def __init__(self, config: Config, stack: AsyncExitStack, *, calls: bool) -> None:
        """`calls`: models may be asked something, and so cost something."""
        self._config, self._stack, self._calls = config, stack, calls
        self._built: dict[str, BaseProvider] = {}
        self._offered: dict[str, Sequence[str] | None] = {}  # None: it does not tell

    def checks(self) -> Iterator[Check]:
        yield Check("provider files", self._files, patience=10,
                    fix="a file in provider_directories hangs; take it out")  # fmt: skip
        for name in self._config.providers:
            yield Check(f"provider {name}", partial(self._provider, name), ("provider files",),
                        fix=f"start the provider, or correct providers.{name}",
            )  # fmt: skip
        for name, model in self._config.models.items():
            needs = (f"provider {model.provider}",)
            fix = f"see whether its server is overloaded, or choose another models.{name}.model"
            yield Check(f"model {name}", partial(self._model, name), needs, ANSWER + 1, fix, "warn")
            yield Check(f"context of {name}", partial(self._context, name), needs)

    async def _files(self) -> str | list[Finding]:
        found = await in_thread(partial(catalog.discover, self._config.provider_directories))
        self._kinds = found
        if found.broken:
            return [
                Finding("provider files", "warn", f"{each.where}: {each.why}",
                        "mend the file, or take it out of provider_directories")
                for each in found.broken
            ]  # fmt: skip
        return f"types: {', '.join(sorted(found.kinds))}"

    async def _provider(self, name: str) -> str:
        section = self._config.providers[name]
        try:
            built = catalog.build(name, section, self._kinds.kinds, self._kinds.broken)
        except ConfigError as exc:
            raise Ailing(str(exc), f"correct providers.{name}") from exc
        self._built[name] = built
        self._stack.push_async_callback(built.close)
        try:
            offered = await built.models()
        except ModelError as exc:
            if type(exc) is ModelError:  # BaseProvider's own: it has no list
                self._offered[name] = None
                return str(exc)
            raise Ailing(str(exc), _way_out(exc, name, section.type)) from exc
        self._offered[name] = offered
        return f"answers, and offers {len(offered)} model{'s' * (len(offered) != 1)}"

    async def _model(self, name: str) -> str:
        model = self._config.models[name]
        offered = self._offered[model.provider]
        if offered is not None and not _among(model.model, offered):
            ollama = self._config.providers[model.provider].type == "ollama"
            pull = f"ollama pull {model.model}, or " if ollama else ""
            near = difflib.get_close_matches(model.model, offered, 3, 0.3) or offered[:3]
            raise Ailing(
                f"{model.provider} does not offer {model.model}",
                f"{pull}set models.{name}.model to one that it has"
                + (f", such as {', '.join(near)}" if near else ""),
            )
        if not self._calls:
            return "is there; not asked, as --no-model-calls says"
        settings = replace(model, max_tokens=min(model.max_tokens or 32, 32), think=False)
        asked = catalog.Model(name, settings, self._built[model.provider])
        began = asyncio.get_running_loop().time()
        try:
            async with aclosing(asked.stream([TINY], timeout=ANSWER)) as pieces:  # type: ignore[type-var]
                async for piece in pieces:
                    if isinstance(piece, Reply):
                        break
        except ModelEmpty:
            pass  # it was asked for very few words, and may have thought them all
        except ModelTimeout as exc:
            raise Ailing(str(exc), "it may be loading: try again in a minute; if it stays so, take "
                         f"a smaller models.{name}.model", "warn") from exc  # fmt: skip
        except ModelError as exc:
            provider = model.provider
            way = _way_out(exc, provider, self._config.providers[provider].type)
            raise Ailing(str(exc), way) from exc
        return f"answered after {asyncio.get_running_loop().time() - began:.1f} s"

    async def _context(self, name: str) -> str:
        model = self._config.models[name]
        key = f"models.{name}.context"
        try:
            longest = await self._built[model.provider].longest(model.model)
        except ModelError:
            longest = None  # told by the check of the model
        if longest is not None and model.context > longest:
            raise Ailing(
                f"{model.context:,} tokens are configured, and {model.model} has {longest:,}: the "
                "beginning of long conversations would be lost", f"set {key} to {longest}",
            )  # fmt: skip
        if model.context < SMALL:
            raise Ailing(f"{model.context:,} tokens leave hardly room for a conversation",
                         f"set {key} to {SMALL} or more, if its server does", "warn")  # fmt: skip
        known = f"of {longest:,} that it has" if longest else "its server does not tell of how many"
        return f"{model.context:,} tokens, {known}"


def _among(model: str, offered: Sequence[str]) -> bool:
    return bool({model, f"{model}:latest", f"models/{model}"} & set(offered))


def _way_out(exc: ModelError, provider: str, kind: str) -> str:
    where = f"providers.{provider}"
    if isinstance(exc, ModelUnreachable | ModelTimeout):
        start = "ollama serve" if kind == "ollama" else "start its server"
        return f"{start}, or correct {where}.base_url"
    if isinstance(exc, ModelRefused) and "key" in str(exc):
        return f"set {where}.api_key to a key that it accepts"
    if isinstance(exc, ModelQuota):
        return f"add credit at the provider, wait, or use another provider than {provider}"
    return f"correct {where}.base_url and the model's name; the server's log may tell more"


def embeddings(config: Config, *, calls: bool) -> Check:
    """Whether texts can be made into vectors."""
    local: State = "warn"
    fix = "try again; if it stays slow, name a server with /v1/embeddings in embeddings.base_url"
    return Check("embeddings", partial(_embeddings, config, calls), (), 20, fix, local)


async def _embeddings(config: Config, calls: bool) -> str:
    settings = config.embeddings
    if settings.model == "none":
        return "none: memories are found by words alone (embeddings.model)"
    folder = Path(settings.model)
    if (
        folder.is_absolute()
        and not settings.base_url
        and not await asyncio.to_thread(folder.is_dir)
    ):
        raise Ailing(f"there is no folder {folder}",
                     "set embeddings.model to a folder that is there, or to none")  # fmt: skip
    if not calls:
        return f"{settings.model}; not asked, as --no-model-calls says"
    one = embedder.from_config(config, offline=True)
    assert one is not None
    try:
        size = await one.load()
    except ConfigError as exc:
        # The service runs without it, as a quick start does.
        raise Ailing(f"memories are found by words alone: {exc}", "pip install "
                     "'memtrix-as[embeddings]', or set embeddings.model to none", "warn",
        ) from exc  # fmt: skip
    except ModelUnreachable as exc:
        raise Ailing(str(exc), "start that server, or correct embeddings.base_url") from exc
    except ModelError as exc:
        if settings.base_url:
            raise Ailing(str(exc), "correct embeddings.model or embeddings.api_key") from exc
        if folder.is_absolute():
            raise Ailing(str(exc), "set embeddings.model to the folder of a model") from exc
        raise Ailing(
            f"{settings.model} is not on this machine, or cannot be loaded",
            "start the service once with a way to huggingface.co: it fetches the model; or set "
            "embeddings.model to a folder, or to none", "warn",
        ) from exc  # fmt: skip
    finally:
        await one.close()
    return f"{settings.model} makes vectors of {size} dimensions"
