"""The part of Ollama's own protocol that the scripted model speaks."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web


@dataclass
class OllamaSide:
    """What Ollama's own endpoints tell and do; set the fields before the client asks."""

    models: list[str] = field(default_factory=lambda: ["scripted"])
    capabilities: list[str] | None = field(default_factory=lambda: ["completion", "tools"])
    parameters: dict[str, Any] = field(default_factory=dict)  # those in the Modelfile
    trained_context: int = 131_072
    default_context: int = 4096  # what the server gives a model that does not say
    creates: bool = True  # False: an old server that knows no parameters in /api/create
    created: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    loaded: dict[str, int] = field(default_factory=dict)  # name -> context length
    asked: list[tuple[str, Mapping[str, Any]]] = field(default_factory=list)

    def add_to(self, router: web.UrlDispatcher) -> None:
        router.add_get("/api/tags", self._tags)
        router.add_get("/api/ps", self._ps)
        for path in ("show", "create", "generate"):
            router.add_post(f"/api/{path}", self._post)

    def load(self, name: str) -> None:
        """What the server does when a model is first asked for."""
        parameters = self.created.get(name, {}).get("parameters") or self.parameters
        self.loaded[name] = int(parameters.get("num_ctx", self.default_context))

    async def _tags(self, http: web.Request) -> web.Response:
        names = [*self.models, *self.created]
        return web.json_response({"models": [{"name": n, "model": n} for n in names]})

    async def _ps(self, http: web.Request) -> web.Response:
        self.asked.append((http.path, {}))
        now = [{"name": n, "model": n, "context_length": c} for n, c in self.loaded.items()]
        return web.json_response({"models": now})

    async def _post(self, http: web.Request) -> web.Response:
        body = await http.json()
        self.asked.append((http.path, body))
        name = str(body.get("from") or body.get("model"))
        known = [*self.models, *self.created]
        if name not in known and f"{name}:latest" not in known:
            return web.json_response({"error": f"model '{name}' not found"}, status=404)
        if http.path == "/api/show":
            info = {"general.architecture": "x", "x.context_length": self.trained_context}
            lines = "\n".join(f"{key:<30} {value}" for key, value in self.parameters.items())
            extra = {} if self.capabilities is None else {"capabilities": self.capabilities}
            return web.json_response({"parameters": lines, "model_info": info, **extra})
        if http.path == "/api/create":
            if not self.creates:
                return web.json_response({"error": "modelfile is required"}, status=400)
            self.created[body["model"]] = body
        return web.json_response({"status": "success"})
