"""Ollama, asked over its OpenAI-like endpoint, with its own protocol for what that cannot set."""

import asyncio
import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from memtrix_as.errors import ModelRefused
from memtrix_as.providers.base import Request
from memtrix_as.providers.failures import Failure
from memtrix_as.providers.openai_compatible import IDLE, OpenAICompatible

log = logging.getLogger(__name__)

# Every Ollama gives a model at least so much; less has been the default of none.
_LEAST_CONTEXT = 2048
_LOADING = 600.0  # seconds to load a model from a slow disk
_UNLOADS_AFTER = 240.0  # seconds without use; Ollama's own default is 300
_ALIAS = re.compile(r"-memtrix-\d+(?::latest)?\Z")


@dataclass
class _Known:
    """What the server says of a model, and the name under which it is asked for."""

    name: str
    context: int
    capabilities: frozenset[str]  # empty when the server is too old to tell
    checked: bool = False
    used_at: float = float("-inf")


class Ollama(OpenAICompatible):
    """A model's context length is made right by an alias of it; see docs/providers.md."""

    type: ClassVar[str] = "ollama"
    hints: ClassVar[Mapping[int, str]] = {404: "`ollama pull` fetches one."}

    def __init__(
        self,
        base_url: str = "http://localhost:11434",
        context: int | None = None,
        keep_alive: str | int | None = None,
        api_key: str = "",
        proxy: str = "",
        idle_timeout: float = IDLE,
    ) -> None:
        """`context`: tokens for every model that is configured with less; `keep_alive`: how long
        a model stays loaded, as Ollama writes it ("30m", -1 for ever)."""
        self._root = base_url.rstrip("/").removesuffix("/v1")
        super().__init__(f"{self._root}/v1", api_key, proxy, idle_timeout)
        self._context = context or 0
        self._keep_alive = keep_alive
        self._known: dict[tuple[str, int], _Known] = {}
        self._learning: dict[tuple[str, int], asyncio.Lock] = {}

    async def models(self) -> list[str]:
        """The models without the aliases that we made of them."""
        return [name for name in await super().models() if not _ALIAS.search(name)]

    async def longest(self, model: str) -> int | None:
        try:
            shown = await self._request("POST", f"{self._root}/api/show", {"model": model})
        except Failure as failure:
            raise failure.error from failure
        return _trained(shown if isinstance(shown, Mapping) else {}) or None

    async def _body(self, request: Request) -> dict[str, Any]:
        known = await self._learn(request.model, max(request.context, self._context))
        body = await super()._body(request)
        body["model"] = known.name
        if "thinking" in known.capabilities:
            body["reasoning_effort"] = "high" if request.think else "none"
        if known.capabilities and "tools" not in known.capabilities:
            body.pop("tools", None)
        return body

    async def _learn(self, model: str, context: int) -> _Known:
        """Ask the server about a model when it is first used; many at once ask once."""
        key = model, context
        async with self._learning.setdefault(key, asyncio.Lock()):
            known = self._known.get(key)
            if known is None:
                known = self._known[key] = await self._prepare(model, context)
            elif not known.checked:
                known.checked = True
                await self._check(known)
            await self._keep(known)
        return known

    async def _prepare(self, model: str, context: int) -> _Known:
        try:
            shown = await self._request("POST", f"{self._root}/api/show", {"model": model})
        except Failure as exc:
            if "model" in exc.said and "not found" in exc.said:
                text = f'Ollama has no model "{model}"; `ollama pull {model}` fetches it.'
                raise Failure(ModelRefused(text)) from exc
            if exc.retry:
                raise
            log.warning("%s tells nothing of %s: %s", self._root, model, exc.error)
            return _Known(model, 0, frozenset(), checked=True)
        shown = shown if isinstance(shown, Mapping) else {}
        capabilities = frozenset(map(str, shown.get("capabilities") or ()))
        wanted = context
        if (trained := _trained(shown)) and trained < context:
            log.warning("%s was made for %d tokens, not for %d", model, trained, context)
            wanted = trained
        remote = bool(shown.get("remote_host"))  # cloud models have their full length anyway
        if remote or wanted <= max(_own(shown), _LEAST_CONTEXT):
            return _Known(model, wanted, capabilities, checked=remote)
        name = await self._alias(model, wanted)
        return _Known(name, wanted, capabilities)

    async def _alias(self, model: str, context: int) -> str:
        """The name under which the server gives the model so many tokens.

        It is made anew at every start: that costs nothing, since the weights are shared, and
        follows a model that was pulled again.
        """
        alias = f"{model}-memtrix-{context}"
        parameters = {"num_ctx": context}
        body = {"model": alias, "from": model, "parameters": parameters, "stream": False}
        try:
            await self._request("POST", f"{self._root}/api/create", body)
        except Failure as exc:
            if exc.retry and exc.status != 500:  # 500 is what some versions say to what they lack
                raise
            log.warning(
                "%s does not let us set the context of %s to %d tokens; set OLLAMA_CONTEXT_LENGTH "
                "there, or it silently forgets the beginning of long conversations: %s",
                *(self._root, model, context, exc.error),
            )
            return model
        return alias

    async def _check(self, known: _Known) -> None:
        """Compare what the server has loaded with what was asked for; only warns."""
        try:
            listing = await self._request("GET", f"{self._root}/api/ps", None)
        except Failure as exc:
            log.info("%s does not tell what it has loaded: %s", self._root, exc.error)
            return
        loaded = listing.get("models") if isinstance(listing, Mapping) else None
        for model in loaded or ():
            got = model.get("context_length")
            if model.get("name", "").removesuffix(":latest") == known.name.removesuffix(":latest"):
                if isinstance(got, int) and 0 < got < known.context:
                    log.warning(
                        "%s gives %s %d tokens of context, though %d are configured",
                        *(self._root, known.name, got, known.context),
                    )

    async def _keep(self, known: _Known) -> None:
        """Tell how long the model is to stay loaded: /v1 cannot, but does not change it either."""
        now = asyncio.get_running_loop().time()
        if self._keep_alive is not None and now - known.used_at > _UNLOADS_AFTER:
            body = {"model": known.name, "keep_alive": self._keep_alive, "stream": False}
            try:
                await self._request("POST", f"{self._root}/api/generate", body, _LOADING)
            except Failure as exc:
                log.warning("%s ignores keep_alive: %s", self._root, exc.error)
        known.used_at = now


def _own(shown: Mapping[str, Any]) -> int:
    """num_ctx in the model's own parameters, 0 if it has none."""
    found = re.search(r"^num_ctx\s+(\d+)", str(shown.get("parameters") or ""), re.MULTILINE)
    return int(found[1]) if found else 0


def _trained(shown: Mapping[str, Any]) -> int:
    """The context length that the model was made for, 0 if it is not told."""
    info = shown.get("model_info")
    if not isinstance(info, Mapping):
        return 0
    value = info.get(f"{info.get('general.architecture')}.context_length")
    return value if isinstance(value, int) else 0
