"""Puts tool calls together from the pieces in which a stream brings them."""

import json
import re
import secrets
import string
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from memtrix_as.messages import ToolCall
from memtrix_as.providers import arguments

MAX_CALLS = 128  # of one message; what a model in a loop writes beyond is dropped

MOST_NAME = 200  # characters of the name of a tool that there is not
_ID = re.compile("[!-~]{1,500}")  # an id that goes through every database and back to its server
_ALPHABET = string.ascii_letters + string.digits


@dataclass
class _Slot:
    index: int | None
    id: str = ""
    name: str = ""
    pieces: list[str] = field(default_factory=list)
    length: int = 0

    def add(self, piece: str) -> None:
        self.length += len(piece)
        if self.length <= arguments.MAX_LENGTH:  # the rest would only fill memory
            self.pieces.append(piece)


class Assembler:
    """Feed it the `tool_calls` of each delta."""

    def __init__(self) -> None:
        self._slots: list[_Slot] = []

    def feed(self, deltas: Iterable[Any]) -> None:
        for delta in deltas:
            if not isinstance(delta, Mapping):
                continue
            function = delta.get("function")
            function = function if isinstance(function, Mapping) else {}
            name, call_id = _text(function.get("name")), _text(delta.get("id"))
            slot = self._slot(delta.get("index"), call_id, name)
            if slot is None:
                continue
            slot.id = slot.id or call_id
            if name != slot.name and len(slot.name) <= MOST_NAME:  # some servers repeat it
                slot.name += name
            piece = function.get("arguments")
            if isinstance(piece, Mapping):  # not as a string, though the protocol says so
                piece = json.dumps(piece)
            if isinstance(piece, str):
                slot.add(piece)

    def finish(self, cut: bool) -> list[ToolCall]:
        """The calls, with ids as they came; `cut` says that the last one may be incomplete."""
        calls = []
        for slot in self._slots:
            raw = "".join(slot.pieces)
            if slot.length > arguments.MAX_LENGTH:
                read: dict[str, Any] = {}
                problem: str | None = (
                    f"the arguments are longer than {arguments.MAX_LENGTH} characters"
                )
            elif cut and slot is self._slots[-1] and not _complete(raw):
                read, problem = (
                    {},
                    (
                        "the answer reached its length limit in the middle of this call; "
                        "call again with shorter arguments"
                    ),
                )
            else:
                read, problem = arguments.read(raw)
            calls.append(ToolCall(slot.id, slot.name, read, problem))
        return calls

    def _slot(self, index: Any, call_id: str, name: str) -> _Slot | None:
        """The call that a piece belongs to.

        Servers leave out the index, or give every call the index 0: then a new id that comes
        with a name begins a new call, and so does a name where there is neither.
        """
        if not isinstance(index, int):
            known = next((s for s in self._slots if call_id and s.id == call_id), None)
            if known or (self._slots and not call_id and not name):
                return known or self._slots[-1]
            index = None
        else:
            same = [s for s in self._slots if s.index == index]
            if same and not (call_id and name and same[-1].id and same[-1].id != call_id):
                return same[-1]
        if len(self._slots) >= MAX_CALLS:
            return None
        self._slots.append(_Slot(index))
        return self._slots[-1]


def settle(
    calls: Iterable[ToolCall], offered: Collection[str], taken: Collection[str]
) -> tuple[ToolCall, ...]:
    """The same calls with the names of offered tools, and ids that occur nowhere else."""
    used = set(taken)
    settled = []
    for call in calls:
        call_id = call.id if _ID.fullmatch(call.id) and call.id not in used else new_id()
        used.add(call_id)
        name = resolve(call.name, offered) or arguments.mend(call.name[:MOST_NAME])
        settled.append(replace(call, id=call_id, name=name))
    return tuple(settled)


def new_id() -> str:
    """Nine letters and digits: Mistral takes no other ids back."""
    return "".join(secrets.choice(_ALPHABET) for _ in range(9))


def resolve(name: str, offered: Collection[str]) -> str | None:
    """The offered tool that is meant, for small models that get case and dashes wrong."""
    if name in offered:
        return name
    wanted = _plain(name)
    found = [tool for tool in offered if _plain(tool) == wanted]
    return found[0] if len(found) == 1 else None


def _plain(name: str) -> str:
    name = name.strip().removeprefix("functions.")
    return re.sub(r"[-_\s.]+", "_", name).strip("_").lower()


def _complete(raw: str) -> bool:
    try:
        return isinstance(json.loads(raw, strict=False), dict)
    except (ValueError, RecursionError):
        return False


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""
