"""Tools as the seed documents them, only the import path changed; and a provider the same way."""

from pathlib import Path

from tests.rig.dropped import drop
from tests.rig.service import Service

NOTE = """
from memtrix_as.tools.base import BaseTool


class MyNotes(BaseTool):
    def __init__(self, workspace_dir: str) -> None:
        super().__init__(
            name="keep_note",
            description="Keeps a line in notes.txt.",
            parameters={
                "type": "object",
                "properties": {"line": {"type": "string", "description": "The line."}},
                "required": ["line"],
            },
        )
        self._workspace_dir = workspace_dir

    def execute(self, **kwargs) -> str:
        path = f"{self._workspace_dir}/notes.txt"
        with open(path, "a") as file:
            file.write(kwargs["line"] + "\\n")
        kwargs["_react"]("📝")
        return f"kept in {kwargs['_room_id']} at depth {kwargs['_agent_depth']}"
"""

# Docks a ship: says what it did before it asked, so that tests see what ran and how often.
SHIP = '''
import asyncio
from pathlib import Path

from memtrix_as.tool import BaseTool

LOG = Path(__file__).with_name("log.txt")
SHIP = {
    "type": "object",
    "properties": {"ship": {"type": "string"}, "times": {"type": "integer"}},
    "required": ["ship"],
}


def wrote(line: str) -> None:
    with LOG.open("a") as log:
        log.write(line + "\\n")


class Dock(BaseTool):
    def __init__(self) -> None:
        super().__init__(name="dock", description="Docks a ship.", parameters=SHIP)

    def execute(self, **kwargs) -> str:
        ship, ask = kwargs["ship"], kwargs["_ask"]
        wrote(f"tug for {ship}")
        for number in range(kwargs.get("times", 1)):
            if not ask(f"May {ship} dock at pier {number}?"):
                return f"{ship} stays at sea."
            wrote(f"{ship} docked at {number}")
        return f"{ship} lies at her pier."


class Anchor(BaseTool):
    """The same, async, and harmless to repeat."""

    repeatable = True

    def __init__(self) -> None:
        super().__init__(name="anchor", description="Anchors a ship.", parameters=SHIP)

    async def execute(self, ship: str, _ask, times: int = 1) -> str:
        wrote(f"sounding for {ship}")
        answers = [await _ask(f"Shall {ship} anchor, {number}?") for number in range(times)]
        if all(answers):
            wrote(f"{ship} anchored")
        return f"{ship}: {', '.join(answers)}"
'''

# Asks the model's server with the OpenAI SDK, as most such files would.
PROVIDER = """
import openai

from memtrix_as.providers.base import BaseProvider


class MyProvider(BaseProvider):
    def __init__(self, api_key: str, address: str) -> None:
        super().__init__(name="myprovider")
        self._api_key = api_key
        self._client = openai.OpenAI(api_key=api_key, base_url=f"{address}/v1", max_retries=0)

    def completions(self, model, history, tools=None):
        more = {"tools": tools} if tools else {}
        answer = self._client.chat.completions.create(model=model, messages=history, **more)
        return answer.choices[0].message
"""


class Docks:
    """A folder of such tools in one installation."""

    def __init__(self, service: Service) -> None:
        self.folder: Path = service.folder / "tools"
        drop(self.folder, "notes.py", NOTE)
        drop(self.folder, "ships.py", SHIP)
        service.set("tools.directories", [str(self.folder)])

    @property
    def log(self) -> list[str]:
        """What has happened at the docks, in order."""
        log = self.folder / "log.txt"
        return log.read_text().splitlines() if log.exists() else []
