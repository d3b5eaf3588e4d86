"""The log's form, and how exceptions are told without what they quote."""

import asyncio
import io
import json
import logging

import pytest

from memtrix_as.errors import ModelRefused, ToolError
from memtrix_as.settings.logs import DiscreetFilter, JsonFormatter, about, told
from memtrix_as.settings.secrets import RedactingFilter, Redactor

WORD = "zzsecretword"


@pytest.fixture
def log(request: pytest.FixtureRequest) -> logging.Logger:
    """A logger of its own whose lines are JSON, in `log.lines`."""
    redact = Redactor()
    redact.learn("a-key-of-ours-1")
    logger = logging.getLogger(f"discreet.{request.node.name}")
    logger.setLevel(logging.INFO)
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonFormatter())
    handler.addFilter(DiscreetFilter())
    handler.addFilter(RedactingFilter(redact))
    logger.addHandler(handler)
    logger.lines = lambda: [json.loads(x) for x in stream.getvalue().splitlines()]  # type: ignore[attr-defined]
    return logger


def stumble() -> None:
    try:
        raise KeyError(WORD)
    except KeyError as exc:
        raise ValueError(f"over {WORD}") from exc


def lines(log: logging.Logger) -> list[dict[str, str]]:
    return log.lines()  # type: ignore[attr-defined, no-any-return]


def test_a_strange_exception_is_told_by_its_place(log: logging.Logger) -> None:
    try:
        stumble()
    except ValueError as exc:
        log.exception("It broke: %s", exc)
    (line,) = lines(log)
    assert WORD not in str(line)
    assert line["message"].startswith("It broke: ValueError (")
    assert "in stumble" in line["exception"] and "KeyError" in line["exception"]


def test_all_of_it_is_told_at_debug(log: logging.Logger) -> None:
    log.setLevel(logging.DEBUG)
    try:
        stumble()
    except ValueError:
        log.exception("It broke")
    assert WORD in lines(log)[0]["exception"]


def test_groups_and_circles(log: logging.Logger) -> None:
    first, second = ValueError(WORD), KeyError(WORD)
    first.__cause__, second.__cause__ = second, first
    log.error("Both", exc_info=ExceptionGroup("two", [first, second]))
    assert WORD not in str(lines(log)) and "KeyError" in lines(log)[0]["exception"]


def test_secrets_are_taken_out_of_what_is_told(log: logging.Logger) -> None:
    try:
        raise OSError("cannot reach a-key-of-ours-1")
    except OSError:
        log.exception("With a-key-of-ours-1")
    assert "a-key-of-ours" not in str(lines(log)) and "cannot reach" in lines(log)[0]["exception"]


def test_what_a_server_said_is_left_out() -> None:
    refused = ModelRefused(f"The server refused. It said: {WORD}")
    refused.said = WORD
    assert told(refused) == "The server refused. It said: (…)"
    assert told(ToolError("There is no tool")) == "There is no tool"


async def test_a_line_says_what_it_is_about(log: logging.Logger) -> None:
    async def work(room: str) -> None:
        with about(room=room, event=None):
            await asyncio.sleep(0)  # the other one begins
            log.info("in it")
            await asyncio.create_task(further())

    async def further() -> None:
        with about(agent="dennis"):
            log.info("further in")

    await asyncio.gather(work("!one"), work("!two"))
    log.info("after it")
    told = [(x["message"], x.get("room"), x.get("agent"), "event" in x) for x in lines(log)]
    assert told == [
        ("in it", "!one", None, False),
        ("in it", "!two", None, False),
        ("further in", "!one", "dennis", False),
        ("further in", "!two", "dennis", False),
        ("after it", None, None, False),
    ]
