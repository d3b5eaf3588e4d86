"""Turns our messages and tools into what an OpenAI-like server reads."""

import base64
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from memtrix_as.messages import Message, ToolCall, ToolSpec, as_json

LONGEST = 64  # characters of the name of a tool


def messages(history: Sequence[Message]) -> list[dict[str, Any]]:
    """Reasoning is left out: it belongs to the answer that it led to, and costs tokens."""
    return [_message(message) for message in history]


def tools(specs: Sequence[ToolSpec]) -> list[dict[str, Any]]:
    return [
        {
            "type": "function",
            "function": {
                "name": spec.name,
                "description": spec.description,
                "parameters": dict(spec.parameters),
            },
        }
        for spec in specs
    ]


def written(parts: Mapping[str, Any], tools: Sequence[ToolSpec]) -> bytes:
    """A request with these tools as it goes over the wire; ValueError if it cannot be written.

    They are the larger part of most requests and the same in all: each is written once.
    """
    text = as_json(parts)
    if tools:
        listed = ",".join(f'{{"type":"function","function":{spec.written}}}' for spec in tools)
        text = f'{text[:-1]},"tools":[{listed}]}}'
    return text.encode()


def _seen(message: Message) -> Iterator[dict[str, Any]]:
    """The parts of a message with images: what it says, then each image as a data URL."""
    yield {"type": "text", "text": message.text}
    for image in message.images:
        url = f"data:{image.mimetype};base64,{base64.b64encode(image.data).decode()}"
        yield {"type": "image_url", "image_url": {"url": url}}


def _message(message: Message) -> dict[str, Any]:
    if message.role == "tool":
        return {"role": "tool", "tool_call_id": message.call_id or "", "content": message.text}
    if message.images:
        return {"role": message.role, "content": [*_seen(message)]}
    if not message.calls:
        return {"role": message.role, "content": message.text}
    return {
        "role": "assistant",
        # Ollama takes null only beside calls, and others refuse an empty string there
        "content": message.text or None,
        "tool_calls": [
            {
                "id": call.id,
                "type": "function",
                "function": {"name": _name(call), "arguments": json.dumps(dict(call.arguments))},
            }
            for call in message.calls
        ],
    }


def _name(call: ToolCall) -> str:
    """As servers take it back: a name that a model made up, or left out, would be refused, and
    with it every later question of the conversation."""
    return re.sub(r"[^A-Za-z0-9_-]", "_", call.name)[:LONGEST] or "unnamed"
