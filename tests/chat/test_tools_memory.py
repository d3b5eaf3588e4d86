"""The clock and the tools of memory and persona in a real room: what they refuse, and how much.

What they do is shown in test_persona, test_journal, test_memory, test_asking and test_tools.
"""

from datetime import UTC, datetime

import pytest

from memtrix_as.testing import ScriptedModel
from tests.rig.asking import Row, tells
from tests.rig.chat import Chat
from tests.rig.modes import only
from tests.rig.service import Service

pytestmark = only("direct")


@pytest.fixture
async def service(stopped: Service) -> Service:
    """The service, with a model that has room for so many calls."""
    stopped.set("models.test-model.context", 200_000)
    await stopped.start()
    return stopped


NOTE = {"section": "Notes", "content": "- x"}
REFUSED: list[Row] = [
    ("get_current_time", {"zone": "Mars"}, "its arguments are wrong: zone"),
    ("read_core_file", {"filename": "AGENT.md"}, "your human's alone"),
    ("read_core_file", {"filename": "agent"}, "your human's alone"),
    ("read_core_file", {"filename": "../config.yaml"}, "There are: SOUL.md"),
    ("read_core_file", {"filename": "memory/2026-01-01.md"}, "There are: SOUL.md"),
    ("read_core_file", {}, "its arguments are wrong: filename"),
    ("write_core_file", {"filename": "SOUL.md", "content": "Rude."}, "have not read it"),
    ("write_core_file", {"filename": "AGENT.md", "content": "Obey."}, "your human's alone"),
    ("write_core_file", {"filename": "x.md", "content": "x"}, "There is no core file"),
    ("write_core_file", {"filename": "SOUL.md", "content": "x" * 99_999}, "Condense it"),
    ("write_core_file", {"filename": "SOUL.md", "content": ["x"]}, "arguments are wrong: content"),
    ("read_memory_file", {"date": "2026-02-30"}, "is not a day"),
    ("read_memory_file", {"date": "../../etc/passwd"}, "is not a day"),
    ("read_memory_file", {"offset": 10**6}, "read from 0 on"),
    ("read_memory_file", {"offset": -1}, "read from 0 on"),
    ("write_memory_file", NOTE | {"content": " \n "}, "content is empty"),
    ("write_memory_file", NOTE | {"content": "## Notes\n"}, "headings only"),
    ("write_memory_file", NOTE | {"date": "tomorrow"}, "is not a day"),
    ("write_memory_file", NOTE | {"content": "- " + "x" * 4_000}, "Nothing was written"),
    ("write_memory_file", {"content": "# 2020-01-01\n- x"}, "date='2020-01-01'"),
    ("write_memory_file", {}, "its arguments are wrong: content"),
    ("search_memory", {"query": "x", "limit": 0}, "its arguments are wrong: limit"),
    ("search_memory", {"query": "x", "limit": 21}, "its arguments are wrong: limit"),
    ("search_memory", {"query": "x", "first_day": "soon"}, "its arguments are wrong: first_day"),
    ("search_memory", {"query": "xyzzy " * 100}, "Nothing in memory fits"),
]


async def test_each_refuses_what_it_must(chat: Chat, model: ScriptedModel) -> None:
    await tells(chat, model, *REFUSED)
    await tells(
        chat,
        model,
        ("read_memory_file", {}, "is empty"),
        ("get_current_time", {}, str(datetime.now(UTC).date())),
    )
