"""Code of others: what breaks is told, and what hangs or exits takes nobody along."""

import asyncio
import importlib
import sys
import threading
from pathlib import Path

import pytest

from memtrix_as.foreign import Loader, in_thread
from tests.rig.dropped import drop


def test_a_broken_module_in_our_own_folder_disables_itself_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The seed has its tools dropped into the package itself."""
    folder = drop(tmp_path / "some_tools", "__init__.py", "")
    drop(folder, "fine.py", "X = 1")
    drop(folder, "odd.py", "import sys; sys.exit(1)")
    monkeypatch.syspath_prepend(tmp_path)
    importlib.invalidate_caches()
    loader = Loader()
    assert [part.name for part in loader.package("some_tools")] == ["fine"]
    assert [broken.where for broken in loader.broken] == ["some_tools.odd"]
    for name in [name for name in sys.modules if name.startswith("some_tools")]:
        del sys.modules[name]


def test_a_file_whose_name_no_module_can_have_is_told(tmp_path: Path) -> None:
    drop(tmp_path, "my.tool.py", "X = 1")
    drop(tmp_path, "my-tool.py", "X = 1")
    loader = Loader()
    assert [part.name for part in loader.folders([tmp_path], "key")] == ["my-tool"]
    assert "has a dot before .py" in loader.broken[0].why


def test_a_changed_file_is_loaded_anew(tmp_path: Path) -> None:
    for text in ("X = 1", "X = 23"):
        drop(tmp_path, "it.py", text)
        (part,) = Loader().folders([tmp_path], "key")
        assert f"X = {part.value.X}" == text


async def test_what_is_given_up_goes_on_and_hurts_nobody() -> None:
    free, over = threading.Event(), threading.Event()

    def work() -> None:
        free.wait(30)
        over.set()

    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await in_thread(work)
    free.set()
    assert await asyncio.to_thread(over.wait, 5)
