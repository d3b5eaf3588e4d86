"""Tools that are classes: how a BaseTool becomes a Tool, and what it is given by name."""

import asyncio
import copy
import inspect
import json
import logging
import re
from collections.abc import Awaitable, Callable, Generator, Mapping
from concurrent.futures import CancelledError
from dataclasses import dataclass
from datetime import tzinfo
from functools import partial
from typing import Any

from jsonschema.exceptions import SchemaError
from jsonschema.protocols import Validator
from jsonschema.validators import Draft202012Validator, validator_for
from referencing import Registry

from memtrix_as.errors import ToolError
from memtrix_as.foreign import in_thread
from memtrix_as.messages import ToolSpec
from memtrix_as.tool import BaseTool, Channel, Human, Tool, ToolContext, misfit
from memtrix_as.workspace import Workspaces

__all__ = ["About", "Answer", "BaseTool", "made"]

log = logging.getLogger(__name__)

POLICY = ("confirm", "untrusted", "alone", "repeatable", "harmless")
INJECTED = ("_room_id", "_ask", "_react", "_agent_depth")
NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")  # what OpenAI's protocol takes
MOST = 50_000  # characters of a result
MOST_WRONG, LONGEST_WRONG = 8, 200  # complaints about arguments, and characters of each


@dataclass(frozen=True)
class About:
    """What the constructor of a tool may ask for by name, of the agent that it is made for."""

    workspaces: Workspaces
    main: str  # the main agent's name
    timezone: tzinfo

    def of(self, agent: str) -> dict[str, Any]:
        folder = str(self.workspaces.of(agent).root)
        return {"workspace_dir": folder, "agent": agent, "timezone": self.timezone}


class Answer(str):
    """What was said to a question: the text "yes" or "no", true if it is a yes."""

    __slots__ = ()

    def __bool__(self) -> bool:
        return self == "yes"


NO = Answer("no")


def made(kind: type[BaseTool], about: About | None) -> Tool:
    """The tool that a class is. Raises TypeError or ValueError with what is wrong with it."""
    main = about.main if about else ""
    first = _instance(kind, about.of(main) if about else {})
    if not hasattr(first, "parameters"):
        raise TypeError("its constructor does not call super().__init__(name=…, description=…)")
    schema = {"type": "object", "properties": {}, **first.parameters}
    _look_at(first, schema)
    spec = ToolSpec(first.name, first.description, schema)
    takes = _Takes.of(first)
    fits = partial(_fitting, first.name, _validator(schema), takes)
    run = _Class(kind, about, {main: first}, takes)
    return Tool(spec, fits, run, True, **{policy: getattr(kind, policy) for policy in POLICY})


def _instance(kind: type[BaseTool], known: Mapping[str, Any]) -> BaseTool:
    parameters = inspect.signature(kind).parameters
    variable = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    strange = [
        name
        for name, p in parameters.items()
        if name not in known and p.default is p.empty and p.kind not in variable
    ]
    if strange:
        raise TypeError(
            f"its constructor asks for {', '.join(strange)}; what it can have: "
            f"{', '.join(known) or 'nothing'}"
        )
    return kind(**{name: known[name] for name in parameters if name in known})


def _look_at(tool: BaseTool, schema: Mapping[str, Any]) -> None:
    """Refuse what would fail at its first call, or confuse every model."""
    if not isinstance(tool.name, str) or not NAME.fullmatch(tool.name):
        raise ValueError(f"the name {tool.name!r} has other signs than letters, digits, _ and -")
    if not isinstance(tool.description, str) or not tool.description.strip():
        raise ValueError("it has no description, so no model could know what it is for")
    if schema["type"] != "object" or not isinstance(schema["properties"], Mapping):
        raise ValueError('parameters: it has to be the JSON Schema of an {"type": "object"}')
    if ours := [name for name in schema["properties"] if name.startswith("_")]:
        raise ValueError(f"parameters: {', '.join(ours)}: what begins with _ is not the model's")
    for policy in POLICY:
        if not isinstance(getattr(tool, policy), bool):
            raise TypeError(f"{policy} has to be True or False")


def _validator(schema: Mapping[str, Any]) -> Validator:
    kind = validator_for(schema, default=Draft202012Validator)
    try:
        kind.check_schema(schema)
    except SchemaError as exc:
        raise ValueError(f"parameters: no JSON Schema: {exc.message[:LONGEST_WRONG]}") from exc
    # With a registry of its own it fetches no schema from the net.
    return kind(schema, registry=Registry())


@dataclass(frozen=True)
class _Takes:
    """Which keyword arguments an `execute` takes."""

    names: frozenset[str]
    all: bool  # it has **kwargs

    @classmethod
    def of(cls, tool: BaseTool) -> "_Takes":
        parameters = inspect.signature(tool.execute).parameters
        required = tool.parameters.get("required", ())
        for name, p in parameters.items():
            named = p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)
            if (named or p.kind is p.POSITIONAL_ONLY) and p.default is p.empty:
                if not named or name not in (*required, *INJECTED):
                    raise TypeError(f"execute needs {name}, which `required` does not promise")
        return cls(frozenset(parameters), any(p.kind is p.VAR_KEYWORD for p in parameters.values()))

    def __contains__(self, name: str) -> bool:
        return self.all or name in self.names


def _fitting(
    name: str, validator: Validator, takes: _Takes, arguments: Mapping[str, Any]
) -> dict[str, Any]:
    """A copy of the arguments, for the tool to do with what it likes."""
    values = copy.deepcopy(dict(arguments))
    wrong = [f"{key}: there is no such argument" for key in values
             if key.startswith("_") or key not in takes]  # fmt: skip
    for error in validator.iter_errors(values):
        at = ".".join(map(str, error.absolute_path)) or "arguments"
        wrong.append(f"{at}: {error.message[:LONGEST_WRONG]}")
        if len(wrong) >= MOST_WRONG:
            break
    if wrong:
        raise misfit(name, wrong)
    return values


@dataclass
class _Class:
    """Runs calls of a class: an instance for each agent, made when that agent first calls it."""

    kind: type[BaseTool]
    about: About | None
    instances: dict[str, BaseTool]
    takes: _Takes

    def __post_init__(self) -> None:
        self._making = asyncio.Lock()

    async def __call__(self, ctx: ToolContext, /, **values: Any) -> str:
        execute = (await self._of(ctx.place.agent)).execute
        call = _Call(ctx)
        values |= {name: value for name, value in call.injected().items() if name in self.takes}
        try:
            if inspect.iscoroutinefunction(execute):
                result = await execute(**values)
            else:
                result = await in_thread(partial(execute, **values))
                result = await result if inspect.isawaitable(result) else result
        finally:
            call.end()
        return _text(result)

    async def _of(self, agent: str) -> BaseTool:
        if self.about is None:
            (only,) = self.instances.values()
            return only
        async with self._making:
            if agent not in self.instances:
                known = self.about.of(agent)
                self.instances[agent] = await in_thread(partial(_instance, self.kind, known))
        return self.instances[agent]


class _Call:
    """One call while it runs, and what it may do meanwhile besides returning."""

    def __init__(self, ctx: ToolContext) -> None:
        self.ctx, self.over = ctx, False
        self.loop = asyncio.get_running_loop()
        self.waiting: set[asyncio.Task[Any]] = set()  # on behalf of threads

    def injected(self) -> dict[str, Any]:
        return {
            "_room_id": self.ctx.place.room_id,
            "_ask": _Callback(self, self._ask, NO),
            "_react": _Callback(self, self._react, False),
            "_agent_depth": self.ctx.depth,
        }

    def end(self) -> None:
        """Whatever the tool has left running is heard no more; what it waits for is a no."""
        self.over = True
        for task in self.waiting:
            task.cancel()

    async def _ask(self, question: str) -> Answer:
        human = self.ctx.services.get(Human)
        return Answer("yes") if human and await human.agrees(self.ctx, str(question)) else NO

    async def _react(self, emoji: str) -> bool:
        channel = self.ctx.services.get(Channel)
        if channel is None:
            return False
        try:
            await channel.react(self.ctx, str(emoji))
        except ToolError as exc:  # an ornament: its lack is no reason to break the call off
            log.info("No reaction with %r: %s", emoji, exc)
            return False
        return True


class _Callback:
    """Called from plain code it waits for its outcome; async code awaits what it returns."""

    def __init__(
        self, call: _Call, work: Callable[[str], Awaitable[Any]], otherwise: object
    ) -> None:
        self._call, self._work, self._otherwise = call, work, otherwise

    def __call__(self, text: str) -> Any:
        try:
            here = asyncio.get_running_loop() is self._call.loop
        except RuntimeError:
            here = False
        if here:
            return _Pending(partial(self._run, text))
        try:
            return asyncio.run_coroutine_threadsafe(
                self._run_for_thread(text), self._call.loop
            ).result()
        except CancelledError:  # the call is over
            return self._otherwise

    async def _run(self, text: str) -> Any:
        return self._otherwise if self._call.over else await self._work(text)

    async def _run_for_thread(self, text: str) -> Any:
        task = asyncio.current_task()
        assert task
        self._call.waiting.add(task)
        try:
            return await self._run(text)
        finally:
            self._call.waiting.discard(task)


class _Pending:
    """An outcome that is still to be awaited; whoever takes it for a yes has forgotten that."""

    def __init__(self, begin: Callable[[], Awaitable[Any]]) -> None:
        self._begin = begin

    def __await__(self) -> Generator[Any, None, Any]:
        return self._begin().__await__()

    def __bool__(self) -> bool:
        raise TypeError("in an async execute, write `await _ask(…)` and `await _react(…)`")


def _text(result: object) -> str:
    """What a model reads of a result."""
    if result is None:
        return "(It returned nothing.)"
    if isinstance(result, Mapping | list | tuple):
        result = json.dumps(result, ensure_ascii=False, default=str)
    text = result.decode(errors="replace") if isinstance(result, bytes) else str(result)
    if len(text) <= MOST:
        return text
    return f"{text[:MOST]}\n(The first {MOST:,} of {len(text):,} characters.)"
