"""Conversations of LoCoMo, read from files that are not part of this repository.

Maharana et al., "Evaluating Very Long-Term Conversational Memory of LLM Agents", ACL 2024.
"""

import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from memtrix_as.memory.passages import Said

ANSWERABLE = {1: "several", 2: "when", 3: "open", 4: "one"}
UNANSWERABLE = 5


@dataclass(frozen=True)
class Question:
    text: str
    category: int
    evidence: frozenset[str]  # messages, as event ids


@dataclass(frozen=True)
class Conversation:
    name: str
    days: list[list[Said]]  # each session as one day
    questions: list[Question]


def read(folder: Path) -> list[Conversation]:
    """All `*.json` of the folder."""
    return [_conversation(path) for path in sorted(folder.glob("*.json"))]


def _conversation(path: Path) -> Conversation:
    raw = json.loads(path.read_text())
    numbers = sorted(
        int(found[1])
        for key, value in raw.items()
        if (found := re.fullmatch(r"session_(\d+)", key)) and isinstance(value, list) and value
    )
    days = []
    for number in numbers:
        at = datetime.strptime(raw[f"session_{number}_date_time"], "%I:%M %p on %d %B, %Y")
        days.append(
            [
                Said(n, m["speaker"], _text(m), at.replace(tzinfo=UTC) + timedelta(seconds=n),
                     m["dia_id"])
                for n, m in enumerate(raw[f"session_{number}"])
            ]
        )  # fmt: skip
    known = {message.event for day in days for message in day}
    questions = []
    for asked in raw["qa"]:
        found = re.findall(r"D(\d+):(\d+)", " ".join(asked.get("evidence", ())))
        evidence = frozenset(f"D{int(a)}:{int(b)}" for a, b in found) & known
        if evidence and asked["category"] in ANSWERABLE:
            questions.append(Question(asked["question"], asked["category"], evidence))
    return Conversation(path.stem, days, questions)


def _text(message: dict[str, Any]) -> str:
    caption = message.get("blip_caption")
    return f"{message['text']} [photo: {caption}]" if caption else str(message["text"])
