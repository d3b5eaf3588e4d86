"""What is said in a run: who says what where, what the model makes of it, what humans answer.

Everything follows from the seed. A message is one verb and one token: `say` is answered, `mark`
makes the model call a tool with an effect first, `ring` one that needs a yes, and `file` has it
write a large file. Tokens of that begin with an f.
"""

import json
import random
import re
from collections import Counter
from dataclasses import dataclass, field

from memtrix_as.testing.script import Reply, Request
from tests.rig.api import Json

TOKEN = re.compile(r"\b(say|mark|ring|file) ([rf]\d+m\d+)\b")
SIZE = 200_000  # characters of a file
VERBS = ("say", "say", "say", "mark", "mark", "ring")
TOOLS = '''
"""Two tools with an effect that can be counted: a line in a file for each time that they ran."""

import os

from memtrix_as.tool import tool

EFFECTS = {effects!r}


def _took_effect(name, token):
    file = os.open(EFFECTS, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
    os.write(file, (name + " " + token + chr(10)).encode())
    os.fsync(file)
    os.close(file)


@tool(harmless=True)
async def mark(token: str) -> str:
    """Make a mark.

    Args:
        token: what it says
    """
    _took_effect("mark", token)
    return "The mark " + token + " is made."


@tool(confirm=True)
async def ring(token: str) -> str:
    """Ring.

    Args:
        token: what for
    """
    _took_effect("ring", token)
    return "It rang for " + token + "."
'''


def verb(token: str, seed: int) -> str:
    return "file" if token[0] == "f" else random.Random(f"{seed} verb {token}").choice(VERBS)


def message(token: str, seed: int) -> str:
    return f"{verb(token, seed)} {token}"


def answer(token: str) -> str:
    return f"This answers {token}."


ANSWER = re.compile(r"This answers ([rf]\d+m\d+)\.")


def content(token: str) -> str:
    """What a `file` has in it: each has another text, so that a mixture is seen."""
    return f"{token}\n" * (SIZE // len(token))


def consents(token: str, seed: int) -> bool:
    """Whether the human lets a `ring` be rung."""
    return random.Random(f"{seed} yes {token}").random() < 0.7


@dataclass
class Mind:
    """The scripted model: decides from what it is shown, and remembers what it was asked."""

    seed: int
    latency: float = 0.4  # seconds at most, before it answers
    asked: Counter[str] = field(default_factory=Counter)
    told: dict[str, list[str]] = field(default_factory=dict)  # token: results of its calls
    wrong: list[str] = field(default_factory=list)

    def __call__(self, request: Request) -> Reply:
        found = TOKEN.findall(request.last_user)
        if not found:
            return Reply(["Nothing of importance."])  # upkeep and condensing
        said, token = found[-1]  # one that was given up stands before it
        self.asked[token] += 1
        chance = random.Random(f"{self.seed} {token} {self.asked[token]}")
        after = self.latency * chance.random()
        results = self._results(request)
        if said in ("mark", "ring") and not results:
            return Reply([], calls=[(said, f'{{"token": "{token}"}}')], after=after,
                         finish="tool_calls")  # fmt: skip
        if said == "file" and not results:
            call = json.dumps({"path": f"{token}.txt", "content": content(token)})
            return Reply([], calls=[("create_file", call)], after=after, finish="tool_calls")
        self.told[token] = results
        text = answer(token)
        if chance.random() < 0.2:  # slowly, so that a draft is shown
            return Reply([text[:5], text[5:9], text[9:]], after=after, delay=self.latency)
        return Reply([text], after=after)

    def _results(self, request: Request) -> list[str]:
        """What calls after the last message of the human have given."""
        results: list[str] = []
        for message in request.messages:
            if message["role"] == "user":
                results = []
            elif message["role"] == "tool":
                results.append(str(message["content"]))
        return results


@dataclass(frozen=True)
class Question:
    """What a human is asked in a room."""

    event_id: str
    token: str


def question(event: Json) -> Question | None:
    """The question that an event of the agent is, as it was first asked."""
    content = event["content"]
    body = str(content.get("body", ""))
    if content.get("msgtype") != "m.notice" or "m.new_content" in content:
        return None
    found = re.search(r"permission to run `ring`.*\b(r\d+m\d+)\b", body, re.DOTALL)
    return Question(event["event_id"], found[1]) if found else None
