"""A language model that says what a test tells it to, behind a real HTTP server.

    async with ScriptedModel() as model:
        model.calls("get_current_time")
        model.says("It is noon.")
        ...                                  # talk to model.url
        assert model.requests[0].last_user == "what time is it?"

It speaks the OpenAI protocol (`/v1/chat/completions`, streamed or not, and `/v1/models`) and as
much of Ollama's own as a client needs to choose a model. Every call of `says`, `calls`, `fails`
and so on queues one reply; they are used up in order. With nothing queued, `default` answers:
it repeats what the user said. `python -m memtrix_as.testing --port N` runs one by itself, for
other processes: POST /_script takes a JSON list such as [["says", "Hello."], ["fails", 500]].
"""

from memtrix_as.testing.model import ScriptedModel
from memtrix_as.testing.script import Reply, Request, Script

__all__ = ["Reply", "Request", "Script", "ScriptedModel"]
