"""Files of tools and providers that are broken in every way: told of, and none hides another."""

import json
import os
from pathlib import Path

import pytest

from memtrix_as import foreign
from memtrix_as.providers import catalog
from memtrix_as.tools import discovery

TOOL = """
from memtrix_as.tool import BaseTool
{before}
class Tool(BaseTool):
    def __init__(self):
        super().__init__(name={name}, description={about}, parameters={takes})
    def execute(self, **values): return "x"
"""
PROVIDER = """
from memtrix_as.providers.base import BaseProvider
{before}
class Provider(BaseProvider{more}):
    {body}
    def completions(self, *given): return ""
"""


def tool(name: str = '"t"', about: str = '"d"', takes: str = "{}", before: str = "") -> str:
    return TOOL.format(name=name, about=about, takes=takes, before=before)


def provider(body: str = "", before: str = "", more: str = "") -> str:
    return PROVIDER.format(body=body, before=before, more=more)


BROKEN = {
    "raises": "raise ValueError('why')",
    "raises what cannot be told": "class E(Exception):\n def __str__(self): 1 / 0\nraise E",
    "interrupts": "raise KeyboardInterrupt",
    "exits": "import sys; sys.exit(0)",
    "cancels": "import asyncio; raise asyncio.CancelledError",
    "recurses": "def f(): f()\nf()",
    "hangs": "import threading; threading.Event().wait()",
    # not for ever, beside all the other tests
    "goes round": "import time\nend = time.monotonic() + 5\nwhile time.monotonic() < end: pass",
    "NUL": "x = 1\0",
    "not UTF-8": "x = '\udcff'",
    "brackets": "x = " + "(" * 5000,
    "signs": "x = " + "-" * 100_000 + "1",
    "a number as its name": tool(name="5"),
    "half a character": tool(about="'\\ud800'"),
    "ten megabytes": tool(about="'x' * 10**7"),
    "no number": tool(takes="{'properties': {'a': {'const': float('nan')}}}"),
    "within itself": tool(takes="p", before="p = {}\np['properties'] = {'a': p}"),
    "a schema that is none": tool(takes="{'$schema': []}"),
    "a tool of nothing": "from memtrix_as.tool import Tool\nT = Tool(5, None, None, True)",
    "a tool without a name": "from memtrix_as.tool import Tool\n"
    "from memtrix_as.messages import ToolSpec\nT = Tool(ToolSpec([], '', {}), None, None, True)",
    "a module that is none": "import sys\nclass X:\n def __repr__(self): 1 / 0\n"
    "sys.modules[__name__] = X()",
    "a class of a class": "from memtrix_as.tool import BaseTool\nfrom abc import ABCMeta\n"
    "class M(ABCMeta):\n @property\n def __module__(cls): 1 / 0\n"
    "class T(BaseTool, metaclass=M): pass",
    "a type that raises": provider(
        before="class M(type(BaseProvider)):\n def __getattribute__(cls, n):\n"
        "  return 1 / 0 if n == 'stream' else super().__getattribute__(n)",
        more=", metaclass=M",
    ),
}


def found(folder: Path) -> list[str]:
    """What is told of the files, which has to be text; the good ones have to be found."""
    (folder / "zz_tool.py").write_text(tool("'good'"))
    (folder / "zz_provider.py").write_text(provider("type = 'good'"))
    tools, providers = discovery.discover([folder]), catalog.discover([folder])
    assert "good" in tools.tools and "good" in providers.kinds
    specs = [[t.name, t.spec.description, t.spec.parameters] for t in tools.tools.values()]
    assert len(json.dumps(specs, ensure_ascii=False, allow_nan=False).encode()) < 100_000
    broken = {b.where: b.why for b in (*tools.broken, *providers.broken)}
    for where, why in broken.items():
        assert where.encode() and why.encode() and len(why) < 1000
    return list(broken)


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(foreign, "PATIENCE", 1.0)


@pytest.mark.parametrize("text", BROKEN.values(), ids=list(BROKEN))
def test_a_broken_file_hides_no_other(tmp_path: Path, text: str) -> None:
    (tmp_path / "aa.py").write_bytes(text.encode("utf-8", "surrogateescape"))
    assert found(tmp_path), "it was told of"


@pytest.mark.parametrize("name", [b"\xff.py", b"a\nb.py", "日本.py".encode(), b"import.py"])
def test_any_name_of_a_file_can_be_told(tmp_path: Path, name: bytes) -> None:
    (tmp_path / os.fsdecode(name)).write_text("raise ValueError")
    assert found(tmp_path)


@pytest.mark.parametrize("kind", ["folder", "pipe", "link to itself", "link to nothing"])
def test_what_is_no_file_hides_none(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "aa.py"
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to("aa.py" if kind == "link to itself" else "nowhere")
    assert found(tmp_path)


def test_a_proxy_that_raises_costs_no_neighbour(tmp_path: Path) -> None:
    """As a library's do, that stand for something which is there only during a request."""
    proxy = "class P:\n @property\n def __class__(self): 1 / 0\nproxy = P()\n"
    (tmp_path / "aa.py").write_text(tool("'beside'", before=proxy))
    assert not found(tmp_path)
    assert "beside" in discovery.discover([tmp_path]).tools
