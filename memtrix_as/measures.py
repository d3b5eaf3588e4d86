"""What is counted and timed while the service works, in this process, for whoever watches it.

Nothing here waits, and no label has values without end: no rooms, people or words.
"""

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    GCCollector,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

from memtrix_as.errors import ToolError, Unanswered
from memtrix_as.messages import Usage
from memtrix_as.tool import Tool

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4
QUICK = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)  # seconds
LONG = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 30, 60, 120, 300, 600)

GAUGES = {
    "inbox": "Events that are not handled yet.",
    "inbox_age": "Seconds since the oldest of them came.",
    "outbox": "Messages that the homeserver does not have yet.",
    "outbox_age": "Seconds since the oldest of them was written.",
    "parked": "Turns that wait for a human or for another agent.",
    "approvals": "Questions to humans that are open.",
    "agents": "Agents that there are.",
}


class Measures:
    """The counters of one process."""

    def __init__(self) -> None:
        self._registry = registry = CollectorRegistry()
        for collector in (ProcessCollector, PlatformCollector, GCCollector):
            collector(registry=registry)

        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(f"memtrix_{name}", text, labels, registry=registry)

        def times(name: str, text: str, *labels: str, buckets: tuple[float, ...]) -> Histogram:
            return Histogram(
                f"memtrix_{name}", text, labels, buckets=buckets, registry=registry
            )  # fmt: skip

        self._turns = counter("turns", "Runs of turns, by how they ended.", "outcome")
        self._stages = times(
            "stage_seconds", "The stages of a message's way through us.", "stage", buckets=QUICK
        )
        self._calls = counter("model_calls", "Calls of models.", "model", "purpose", "outcome")
        self._answers = times("model_seconds", "A model's whole answer.", "model", buckets=LONG)
        self._tokens = counter("model_tokens", "Tokens in and out.", "model", "direction")
        self._cost = counter("model_cost_dollars", "What models cost, as far as known.", "model")
        self._tools = counter("tool_calls", "Tool calls that were run.", "tool", "outcome")
        self._tool_times = times("tool_seconds", "Tool calls.", "tool", buckets=QUICK)
        self._searches = times("search_seconds", "Searches of the memory.", buckets=QUICK)
        self._hits = times(
            "search_hits", "Passages that a search found.", buckets=(0, 1, 2, 4, 8, 16)
        )
        self._logged = counter("log_records", "Lines of the log, from WARNING on.", "level")
        self._up = Gauge("memtrix_database_up", "Whether it answered.", registry=registry)
        self._waiting = {
            key: Gauge(
                f"memtrix_{key}" + ("_seconds" if key.endswith("_age") else ""), text,
                registry=registry,
            )
            for key, text in GAUGES.items()
        }  # fmt: skip
        # Finding the child of a label costs more than counting.
        self._children: dict[tuple[object, ...], Any] = {}

    def _of(self, metric: Counter | Histogram, *labels: str) -> Any:
        key = (metric, *labels)
        child = self._children.get(key)
        if child is None:
            child = self._children[key] = metric.labels(*labels)
        return child

    def turn(self, outcome: str) -> None:
        """A run of a turn has ended: done, failed, parked, stopped or crashed."""
        self._of(self._turns, outcome).inc()

    def stage(self, name: str, seconds: float) -> None:
        """A stage of a message's way: waiting, preparing, first_word or sending."""
        self._of(self._stages, name).observe(max(0.0, seconds))

    def model(self, model: str, purpose: str, outcome: str, seconds: float, took: Usage) -> None:
        """A call has ended; `outcome` is ok, broken_off, or the kind of its failure."""
        self._of(self._calls, model, purpose, outcome).inc()
        if outcome == "ok":
            self._of(self._answers, model).observe(seconds)
        if took.prompt_tokens:
            self._of(self._tokens, model, "prompt").inc(took.prompt_tokens)
        if took.completion_tokens:
            self._of(self._tokens, model, "completion").inc(took.completion_tokens)
        if took.cost:
            self._of(self._cost, model).inc(took.cost)

    def searched(self, seconds: float, hits: int) -> None:
        """The memory was searched."""
        self._searches.observe(seconds)
        self._hits.observe(hits)

    def watching(self, tools: Mapping[str, Tool]) -> dict[str, Tool]:
        """The same tools, each of whose calls is counted and timed."""
        return {name: replace(tool, run=self._watched(name, tool.run))
                for name, tool in tools.items()}  # fmt: skip

    def _watched(self, name: str, run: Callable[..., Any]) -> Callable[..., Any]:
        async def watched(*args: Any, **values: Any) -> Any:
            began, outcome = time.monotonic(), "broken_off"
            try:
                result = await run(*args, **values)
                outcome = "ok"
                return result
            except Unanswered:
                outcome = "waits"
                raise
            except ToolError:
                outcome = "refused"
                raise
            except Exception:
                outcome = "crashed"
                raise
            finally:
                self._of(self._tools, name, outcome).inc()
                self._of(self._tool_times, name).observe(time.monotonic() - began)

        return watched

    def logged(self, level: str) -> None:
        self._of(self._logged, level).inc()

    def waiting(self, backlog: Mapping[str, float] | None) -> None:
        """What waits in the database, by the names of GAUGES; None: it did not answer."""
        self._up.set(backlog is not None)
        for key, value in (backlog or {}).items():
            self._waiting[key].set(value)

    def text(self) -> bytes:
        """Everything in Prometheus' text format."""
        return generate_latest(self._registry)


class Counting(logging.Handler):
    """Counts the lines of the log that somebody should look at."""

    def __init__(self, measures: Measures) -> None:
        super().__init__(logging.WARNING)
        self._measures = measures

    def emit(self, record: logging.LogRecord) -> None:
        self._measures.logged(record.levelname)
