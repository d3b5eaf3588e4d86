"""The meter before every model: nothing is asked beyond a budget, and what it took is noted."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from functools import partial
from uuid import uuid4

from memtrix_as.agent import budget, context
from memtrix_as.agent.budget import Limit
from memtrix_as.agent.means import Account
from memtrix_as.config import Config
from memtrix_as.db import agents, outbox, usage
from memtrix_as.db.operators import tell_operators
from memtrix_as.db.pool import DOWN, Pool
from memtrix_as.db.usage import Call, Today
from memtrix_as.errors import BudgetSpent, ModelError, ModelTimeout
from memtrix_as.measures import Measures
from memtrix_as.memory import prompt
from memtrix_as.messages import Delta, Message, Reply, ToolSpec, Usage
from memtrix_as.providers.catalog import Model, Models
from memtrix_as.tool import Chat

log = logging.getLogger(__name__)

OK = "ok"
ANSWER = 500  # tokens that an answer is taken to have while it is on its way
LAST_WAIT = 5.0  # seconds that the last figures are waited for when the service stops


class Meter:
    """The configured models, to be had on somebody's account only.

    Without limits a call is noted when it has ended, and nothing is waited for. With limits it is
    reserved before, by a guess: so calls in flight count, for each other too, and a limit is
    overshot by one call at most, plus what answers have beyond ANSWER. A call whose process dies
    counts as it was reserved, or by what is stored of its answer.
    """

    def __init__(
        self, models: Models, pool: Pool, chat: Chat, config: Config, measures: Measures
    ) -> None:
        self.config = config
        self.measures = measures
        self._models = models
        self._pool = pool
        self._chat = chat
        self._writing: set[asyncio.Task[None]] = set()
        self._told: set[tuple[date, Limit, int]] = set()
        self._rates: dict[str, float] = {}  # US dollars a token, of a model's last call

    def get(self, name: str, account: Account) -> "MeteredModel":
        """Raises ConfigError when there is no model of this name."""
        return MeteredModel(self, self._models.get(name), account)

    async def check(self) -> None:
        """Log what of the budgets cannot have the effect that was meant."""
        budgets = self.config.budgets
        known = [(each.name, each.display_name) for each in await agents.load(self._pool)]
        for name in budget.strangers(budgets, known):
            log.warning("budgets.agents.%s: there is no agent of this name yet", name)
        own = [each.cost_per_day for each in budgets.agents.values()]
        if any((budgets.cost_per_day, budgets.agent_cost_per_day, *own)):
            for name in self._models.names():
                model = self._models.get(name)
                if not model.provider.bills and model.settings.price is None:
                    log.warning(
                        "models.%s.price: is not set, so what it costs counts for no budget", name
                    )

    async def heal(self) -> None:
        """Note what calls took that ended right before their process died."""
        await usage.heal(self._pool)

    async def close(self) -> None:
        """Wait a moment for the figures that are still to be noted."""
        if self._writing:
            await asyncio.wait(self._writing, timeout=LAST_WAIT)
        for task in self._writing:
            log.error("What a model call took could not be noted: the database is away")
            task.cancel()
        await asyncio.gather(*self._writing, return_exceptions=True)

    async def settle(self, patience: float) -> None:
        """Wait until what ended calls took is noted, in place of guesses; so many seconds."""
        if self._writing:
            await asyncio.wait(set(self._writing), timeout=patience)

    def limits(self, model: Model, account: Account) -> tuple[Limit, ...]:
        """The limits that a call falls under; those of money only where it may cost some."""
        found = budget.limits(self.config.budgets, account.place.agent, account.name)
        price = model.settings.price
        free = not (price.input or price.output) if price else not (
            model.provider.bills or self._rates.get(model.name)
        )  # fmt: skip
        return tuple(each for each in found if each.measure == "tokens" or not free)

    async def admit(self, flight: "Flight", guess: Usage) -> None:
        """Reserve a call. Raises BudgetSpent, whose text can stand in a room."""
        zone = self.config.timezone
        if self._writing:  # what calls before it took
            await asyncio.wait(set(self._writing))
        try:
            today = flight.today = await usage.reserve(
                self._pool, flight.call, guess, budget.ceilings(flight.limits), str(zone)
            )
        except asyncio.CancelledError:  # it may have been reserved, and is not made
            self.record(flight, Usage(), estimated=False, outcome="broken_off")
            raise
        if not today.reserved:
            limit = budget.reached(flight.limits, today)
            assert limit is not None
            spent = limit.spent(today)
            self._tell(flight.account, today, limit, budget.SPENT, spent)
            self.measures.model(
                flight.call.model, flight.call.purpose, BudgetSpent.__name__, 0.0, Usage()
            )
            raise BudgetSpent(budget.refusal(limit, spent, today, zone))
        self._look(flight, Usage())

    def price(self, model: Model, took: Usage) -> Usage:
        """The same with its cost, where the provider has not told it."""
        if took.cost is None:
            return replace(took, cost=budget.cost(model.settings.price, took))
        if tokens := took.prompt_tokens + took.completion_tokens:
            self._rates[model.name] = took.cost / tokens
        return took

    def guessed(self, model: Model, prompt_tokens: int, completion_tokens: int) -> Usage:
        """Tokens that we have counted ourselves, at the price or as the last call's cost."""
        took = Usage(prompt_tokens, completion_tokens)
        cost = budget.cost(model.settings.price, took)
        if cost is None and (rate := self._rates.get(model.name)):
            cost = rate * (prompt_tokens + completion_tokens)
        return replace(took, cost=cost)

    def record(self, flight: "Flight", took: Usage, *, estimated: bool, outcome: str) -> None:
        """Note what a call took, beside everything else: nobody waits for it.

        `outcome` is OK, broken_off, or the kind of its failure.
        """
        seconds, call = time.monotonic() - flight.began, flight.call
        self._beside(self._record(call, took, seconds, estimated, outcome != OK))
        self.measures.model(call.model, call.purpose, outcome, seconds, took)
        self._look(flight, took)

    async def _record(
        self, call: Call, took: Usage, seconds: float, estimated: bool, failed: bool
    ) -> None:
        while True:
            try:
                await usage.record(
                    self._pool, call, took, seconds=seconds, estimated=estimated, failed=failed
                )
                return
            except DOWN:
                await asyncio.sleep(1)

    def _look(self, flight: "Flight", took: Usage) -> None:
        """See whether a limit is nearly used up, with what a call took."""
        if today := flight.today:
            tokens, cost = took.prompt_tokens + took.completion_tokens, took.cost or 0.0
            for limit in flight.limits:
                spent = limit.spent(today) + (tokens if limit.measure == "tokens" else cost)
                if limit.share(spent) >= budget.SHORT:
                    self._tell(flight.account, today, limit, budget.SHORT, spent)

    def _tell(self, account: Account, today: Today, limit: Limit, level: int, spent: float) -> None:
        """Have it told, once a day, that a limit is used up to `level` percent."""
        key = today.day, limit, level
        if key not in self._told:
            self._told = {told for told in self._told if told[0] == today.day} | {key}
            self._beside(self._warn(account, today, limit, level, spent))

    async def _warn(
        self, account: Account, today: Today, limit: Limit, level: int, spent: float
    ) -> None:
        text = budget.warning(limit, spent, today, self.config.timezone)
        # Of what is quite spent the room hears by the refusal.
        lane = account.lane if level == budget.SHORT else ""
        try:
            async with self._pool.acquire() as connection, connection.transaction():
                first = partial(
                    usage.first_notice,
                    connection, today.day, limit.agent, limit.measure, limit.amount,
                )  # fmt: skip
                if not await first(level):
                    return
                if level == budget.SHORT and spent >= limit.amount:
                    await first(budget.SPENT)  # one big call: both are told at once
                if lane:
                    place = replace(account.place, thread=None)
                    await outbox.say(connection, lane, place, text)
                whose = f"{account.name}: " if limit.agent else ""
                await tell_operators(connection, whose + text)
        except DOWN:
            self._told.discard((today.day, limit, level))
            return
        if lane:
            self._chat.post(lane)

    def _beside(self, work: "asyncio._CoroutineLike[None]") -> None:
        task = asyncio.create_task(work)
        self._writing.add(task)
        task.add_done_callback(self._written)

    def _written(self, task: asyncio.Task[None]) -> None:
        self._writing.discard(task)
        if not task.cancelled() and (exc := task.exception()):
            log.error("What a model call took could not be noted: %s", exc, exc_info=exc)


@dataclass
class Flight:
    """A call on its way."""

    call: Call
    account: Account
    limits: tuple[Limit, ...]
    began: float = field(default_factory=time.monotonic)
    today: Today | None = None  # what was spent before it, if there are limits


class MeteredModel:
    """A model on somebody's account; each call of `stream` is checked before and noted after."""

    def __init__(self, meter: Meter, model: Model, account: Account) -> None:
        self._meter = meter
        self._model = model
        self._account = account
        self._asked = False

    @property
    def context(self) -> int:
        return self._model.context

    @property
    def tools(self) -> bool:
        return self._model.tools

    @property
    def vision(self) -> bool:
        return self._model.vision

    @property
    def scarce(self) -> bool:
        """What costs nothing is hardware of our own, and mostly a single one."""
        return not self._model.provider.bills and self._model.settings.price is None

    async def stream(
        self, messages: Sequence[Message], tools: Sequence[ToolSpec], *, timeout: float
    ) -> AsyncIterator[Delta | Reply]:
        """Ask it; raises BudgetSpent in place of asking, else as the model itself does."""
        meter, model = self._meter, self._model
        flight = self._flight()
        if flight.limits:
            await meter.admit(flight, meter.guessed(model, _asked(messages, tools), ANSWER))
        self._begins(flight)
        said: list[str] = []
        noted = False
        failure: ModelError | None = None
        try:
            async for piece in model.stream(messages, tools, timeout=timeout):
                if isinstance(piece, Reply):
                    took, estimated = self._took(piece, messages, tools)
                    noted = True  # before the yield: whoever asked may not come back
                    meter.record(flight, took, estimated=estimated, outcome=OK)
                    yield replace(piece, usage=took)
                else:
                    if not said:
                        meter.measures.stage("first_word", time.monotonic() - flight.began)
                    said.append(piece.text + piece.reasoning)
                    yield piece
        except ModelError as exc:
            failure = exc
            raise
        finally:
            if not noted:
                self._broken_off(flight, messages, tools, "".join(said), failure)

    def _begins(self, flight: Flight) -> None:
        """The first question of a turn shows how long it took to prepare."""
        if not self._asked and self._account.since is not None:
            self._meter.measures.stage("preparing", flight.began - self._account.since)
        self._asked = True

    def _flight(self) -> Flight:
        account, model = self._account, self._model
        place = account.place
        call = Call(
            uuid4(), place.agent, place.room_id, account.turn_id, model.name,
            model.settings.provider, account.purpose,
        )  # fmt: skip
        return Flight(call, account, self._meter.limits(model, account))

    def _took(
        self, reply: Reply, messages: Sequence[Message], tools: Sequence[ToolSpec]
    ) -> tuple[Usage, bool]:
        """What a call took that came to its end, and whether that is our own estimate."""
        told = reply.usage
        if told.prompt_tokens or told.completion_tokens:
            return self._meter.price(self._model, told), False
        answered = context.tokens(reply.message) + prompt.tokens(reply.message.reasoning)
        counted = self._meter.guessed(self._model, _asked(messages, tools), answered)
        return (counted if told.cost is None else replace(counted, cost=told.cost)), True

    def _broken_off(
        self,
        flight: Flight,
        messages: Sequence[Message],
        tools: Sequence[ToolSpec],
        said: str,
        failure: ModelError | None,
    ) -> None:
        """Note what a call took that did not come to its end; `failure` None: it was given up."""
        meter, model = self._meter, self._model
        outcome = type(failure).__name__ if failure else "broken_off"
        told = Usage()
        if failure:
            told = Usage(failure.prompt_tokens, failure.completion_tokens, failure.cost)
        if told.prompt_tokens or told.completion_tokens:
            meter.record(flight, meter.price(model, told), estimated=False, outcome=outcome)
        elif said or failure is None or isinstance(failure, ModelTimeout):
            # It was being answered, and so the question had been read.
            took = meter.guessed(model, _asked(messages, tools), prompt.tokens(said))
            meter.record(flight, took, estimated=True, outcome=outcome)
        else:  # refused, or never reached
            meter.record(flight, told, estimated=False, outcome=outcome)


def _asked(messages: Sequence[Message], tools: Sequence[ToolSpec]) -> int:
    """An estimate of the tokens of a question."""
    return sum(map(context.tokens, messages)) + sum(tool.length for tool in tools) // 4
