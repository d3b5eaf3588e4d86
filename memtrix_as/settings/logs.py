"""The log: for people or as JSON, without secrets, and without words of conversations."""

import json
import logging
import logging.config
import sys
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any, TextIO

from rich.console import Console
from rich.logging import RichHandler

from memtrix_as.errors import MemtrixError, ModelError
from memtrix_as.settings.secrets import RedactingFilter, Redactor

# aiohttp.access would print the homeserver's token with each request
QUIET = ("aiohttp.access", "mau", "procrastinate", "httpx2", "httpx", "httpcore2", "openai")

# Exceptions whose texts speak of code, files and connections. That of any other may quote what it
# stumbled over, and so a conversation.
TELLING = (
    MemtrixError, OSError, ImportError, SyntaxError, NameError, AttributeError, TypeError,
    RecursionError, MemoryError,
)  # fmt: skip
HIDDEN = "(what it says may quote a conversation; the level DEBUG shows it)"

# What is worked on; whatever task is begun meanwhile has it too.
_about: ContextVar[Mapping[str, object]] = ContextVar("about")


@contextmanager
def about(**facts: object) -> Iterator[None]:
    """Have what is logged meanwhile say what it is about, as fields of JSON: room, agent …"""
    known = {name: fact for name, fact in facts.items() if fact is not None}
    token = _about.set({**_about.get({}), **known})
    try:
        yield
    finally:
        _about.reset(token)


def setup(settings: Mapping[str, Any], redact: Redactor, to: TextIO | None = None) -> None:
    """Log to standard error, or `to`, as the section `logging` says; ValueError if it cannot be."""
    for name in QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)
    # It tells of each try, four times a second, while the database is away; `queue` tells it once.
    logging.getLogger("psycopg.pool").setLevel(logging.ERROR)
    if "version" in settings:
        try:
            logging.config.dictConfig({"disable_existing_loggers": False, **settings})
        except (ValueError, TypeError, AttributeError, ImportError) as exc:
            raise ValueError(str(exc.__cause__ or exc)) from exc
    else:
        handler = _handler(settings.get("format", "text"), to)
        logging.basicConfig(level=settings.get("level", "INFO"), handlers=[handler], force=True)
        for name, level in (settings.get("loggers") or {}).items():
            logging.getLogger(name).setLevel(level)
    for logger in (logging.getLogger(), *map(logging.getLogger, logging.root.manager.loggerDict)):
        for handler in logger.handlers:
            if not any(isinstance(f, RedactingFilter) for f in handler.filters):
                handler.addFilter(DiscreetFilter())
                handler.addFilter(RedactingFilter(redact))


def _handler(kind: str, to: TextIO | None) -> logging.Handler:
    if kind == "json":
        handler: logging.Handler = logging.StreamHandler(to)
        handler.setFormatter(JsonFormatter())
        return handler
    handler = logging.StreamHandler(to)
    style = "%(asctime)s %(levelname)-7s %(name)s: %(message)s"
    if to is None and sys.stderr.isatty():
        console = Console(stderr=True)
        handler = RichHandler(console=console, show_path=False, log_time_format="%X")
        style = "%(name)s: %(message)s"
    handler.setFormatter(logging.Formatter(style))
    return handler


class JsonFormatter(logging.Formatter):
    """A line of JSON for each record: time, level, logger, message, what it is about, exception."""

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            **_about.get({}),
        }
        if record.exc_info and not record.exc_text:
            record.exc_text = self.formatException(record.exc_info)
        if record.exc_text:
            line["exception"] = record.exc_text
        if record.stack_info:
            line["stack"] = record.stack_info
        return json.dumps(line, ensure_ascii=False)


class DiscreetFilter(logging.Filter):
    """Tells where a strange exception came from, and not what it says; on handlers, all of it at
    the level DEBUG."""

    def filter(self, record: logging.LogRecord) -> bool:
        if record.levelno <= logging.DEBUG or logging.getLogger(record.name).isEnabledFor(
            logging.DEBUG
        ):
            return True
        if isinstance(record.args, tuple) and any(
            isinstance(arg, BaseException) for arg in record.args
        ):
            record.args = tuple(
                told(arg) if isinstance(arg, BaseException) else arg for arg in record.args
            )
        if record.exc_info and (exc := record.exc_info[1]) and not record.exc_text:
            record.exc_text, record.exc_info = "".join(_lines(exc, [])).rstrip("\n"), None
        return True


def told(exc: BaseException) -> str:
    """What an exception says, as far as it cannot quote a conversation."""
    if isinstance(exc, ModelError):
        return exc.unquoted
    if isinstance(exc, TELLING):
        return str(exc)
    return f"{_name(exc)} {HIDDEN}"


def _name(exc: BaseException) -> str:
    state = getattr(exc, "sqlstate", None)  # PostgreSQL's code says what its text does
    return type(exc).__name__ + (f" {state}" if state else "")


def _lines(exc: BaseException, seen: list[BaseException]) -> Iterator[str]:
    """A traceback as Python prints it, with the causes before, but for what strangers say."""
    seen.append(exc)
    cause = exc.__cause__ or (None if exc.__suppress_context__ else exc.__context__)
    if cause and cause not in seen:
        yield from _lines(cause, seen)
        yield "\n"
    parts: Sequence[BaseException] = getattr(exc, "exceptions", ())
    for part in parts:
        if part not in seen:
            yield from _lines(part, seen)
    yield "Traceback (most recent call last):\n"
    yield from traceback.format_tb(exc.__traceback__)
    yield f"{type(exc).__name__}: {told(exc)}\n"
