"""The first AGENT.md and SOUL.md of a new agent: drafted by a model, else made from templates."""

import asyncio
import logging
import re
from collections.abc import Mapping
from pathlib import Path

from memtrix_as.agent.means import NamedModel
from memtrix_as.errors import ConfigError, ModelError
from memtrix_as.messages import Message, Reply

log = logging.getLogger(__name__)

TEMPLATES = Path(__file__).parent / "templates"
PATIENCE = 60.0  # seconds that somebody who wants an agent waits for words about it
LEAST, MOST = 40, 3_000  # characters of a draft that is used

ASK = """\
A new assistant, {name}, joins. Its expertise, as it was asked for: {expertise}

Write two short texts in the language of that expertise, addressed to {name} as "you":
FIELD: what {name} knows and does, how it works in this field, what it takes care of. Up to 8 lines.
SOUL: what {name} is like as a character that suits this field. Up to 8 lines.

Write nothing else. Begin the first with a line "FIELD:" and the second with a line "SOUL:"."""
FIELD = "Your expertise: [EXPERTISE]. You know it from practice, and explain it plainly."


async def write(model: NamedModel | None, name: str, expertise: str) -> Mapping[str, str]:
    """The texts of AGENT.md and SOUL.md; never fails."""
    agent, soul = ((TEMPLATES / file).read_text("utf-8") for file in ("AGENT.md", "SOUL.md"))
    field, drafted = await _draft(model, name, expertise) if model else ("", "")
    field = field or FIELD.replace("[EXPERTISE]", _plain(expertise))
    return {
        "AGENT.md": agent.replace("[FIELD]", field),
        "SOUL.md": drafted or soul.replace("[EXPERTISE]", _plain(expertise)),
    }


async def _draft(model: NamedModel, name: str, expertise: str) -> tuple[str, str]:
    prompt = [Message("user", ASK.format(name=name, expertise=expertise))]
    try:
        async with asyncio.timeout(PATIENCE):
            async for piece in model.stream(prompt, [], timeout=PATIENCE):
                if isinstance(piece, Reply):
                    return read(piece.message.text)
    except (ModelError, ConfigError, TimeoutError) as exc:
        log.warning("No draft for %s, so a template serves: %s", name, exc)
    return "", ""


def read(answer: str) -> tuple[str, str]:
    """Field and soul of a model's answer; empty what is not there as asked for."""
    parts = re.split(r"^[#*\s]*(FIELD|SOUL)\**:\**[ \t]*", answer, flags=re.MULTILINE)
    found = dict(zip(parts[1::2], parts[2::2], strict=False))
    return _usable(found.get("FIELD", "")), _usable(found.get("SOUL", ""))


def _usable(text: str) -> str:
    text = text.strip()
    return _plain(text) if LEAST <= len(text) <= MOST else ""


def _plain(text: str) -> str:
    """A text without placeholders: what a model writes fills no file into a prompt."""
    return text.strip().replace("{{", "{ {").replace("}}", "} }")
