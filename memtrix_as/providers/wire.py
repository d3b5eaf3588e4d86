"""Turns our messages and tools into what an OpenAI-like server reads."""

import json
from collections.abc import Sequence
from typing import Any

from memtrix_as.messages import Message, ToolSpec


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


def _message(message: Message) -> dict[str, Any]:
    if message.role == "tool":
        return {"role": "tool", "tool_call_id": message.call_id or "", "content": message.text}
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
                "function": {"name": call.name, "arguments": json.dumps(dict(call.arguments))},
            }
            for call in message.calls
        ],
    }
