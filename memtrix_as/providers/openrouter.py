"""OpenRouter: many providers behind one key, and a say in what they may do with the words."""

from collections.abc import Mapping
from typing import Any, ClassVar

from memtrix_as.errors import ConfigError
from memtrix_as.providers.base import Request
from memtrix_as.providers.openai_compatible import IDLE, OpenAICompatible


class OpenRouter(OpenAICompatible):
    """Sends no HTTP-Referer and no title: they would list this installation publicly."""

    type: ClassVar[str] = "openrouter"
    bills: ClassVar[bool] = True
    hints: ClassVar[Mapping[int, str]] = {
        404: "Either there is no such model, or none of its providers meets the privacy that is "
        "asked for (`data_collection`, `zdr`)."
    }

    def __init__(
        self,
        api_key: str,
        base_url: str = "https://openrouter.ai/api/v1",
        data_collection: str = "deny",
        zdr: bool = False,
        order: list[str] | None = None,
        proxy: str = "",
        idle_timeout: float = IDLE,
    ) -> None:
        """`data_collection` "deny" uses only providers that do not keep prompts to train on;
        `zdr` only those that keep nothing at all; `order` names providers to try first."""
        if data_collection not in ("deny", "allow"):
            raise ConfigError('data_collection: expected "deny" or "allow"')
        if not api_key.strip():
            raise ConfigError("api_key: is empty; https://openrouter.ai/keys makes one")
        super().__init__(base_url, api_key, proxy, idle_timeout)
        self._routing: dict[str, Any] = {"data_collection": data_collection}
        if zdr:
            self._routing["zdr"] = True
        if order:
            self._routing["order"] = order

    async def _body(self, request: Request) -> dict[str, Any]:
        body = await super()._body(request)
        body["provider"] = self._routing
        body["reasoning"] = {"effort": "medium" if request.think else "none"}
        return body
