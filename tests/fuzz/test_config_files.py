"""Any bytes at all as config.yaml: settings, or one error that is told; never a traceback."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from memtrix_as import config
from memtrix_as.errors import ConfigError
from memtrix_as.settings import document
from tests.test_config import GOOD, write

SECRET = "hush-4711-token"


def _doubling(indent: str, levels: int) -> str:
    """Aliases that grow ninefold at each line."""
    lines = [f"{indent}x0: &x0 [y, y, y, y, y, y, y, y, y]"]
    for n in range(levels):
        lines.append(f"{indent}x{n + 1}: &x{n + 1} [{', '.join([f'*x{n}'] * 9)}]")
    return "\n".join(lines)


ODD = {
    "open brackets": "a: " + "[" * 600,
    "deep sections": "".join(" " * n + "a:\n" for n in range(600)),
    "deep, but readable": "providers: {p: {type: x, a: " + "[" * 60 + "]" * 60 + "}}",
    "a long number": "a: " + "9" * 5000,
    "a long hex number": "limits: {tool_rounds: 0x" + "f" * 6000 + "}",
    "no float": "limits: {turn_timeout: 0x" + "f" * 400 + "}",
    "no date": "a: 2026-13-45",
    "no time": "a: 2026-01-01T99:99:99Z",
    "no number": "limits: {tool_rounds: +_}",
    "no hex number": "a: 0x_",
    "tagged int": "a: !!int foo",
    "tagged float": "a: !!float foo",
    "tagged bool": "a: !!bool foo",
    "no character": 'a: "\\Uffffffff"',
    "itself": "providers: &p\n  x: *p",
    "itself among options": "providers:\n  p: &q\n    type: x\n    a: *q",
    "a bomb": f"providers:\n  p:\n    type: x\n{_doubling('    ', 7)}",
    "nobody's home": 'workspace_directory: "~nobody-of-this-name/x"',
    "a long secret": 'appservice: {as_token: "$' + "A" * 5000 + '"}',
    "no key": "{[a, b]: 1, {c: d}: 2, 3: 4, null: 5}",
}


def _told(path: Path) -> None:
    """Each way to read the file takes it, or says why not; values of tokens are never said."""
    for read in (config.load, config.load_service):
        try:
            read(path)
        except ConfigError as exc:
            assert SECRET not in str(exc) and len(str(exc)) < 20_000
    try:
        document.change(path, {"appservice.as_token": "x" * 20})
    except ConfigError as exc:
        assert SECRET not in str(exc)


@pytest.mark.parametrize("text", ODD.values(), ids=ODD.keys())
def test_what_looks_like_settings_and_is_not_is_told(tmp_path: Path, text: str) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(f"{text}\n")
    with pytest.raises(ConfigError):
        config.load(path)
    _told(path)


def test_a_value_that_is_none_is_told_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(f"a: {SECRET}\nb: 2026-13-45\n")
    with pytest.raises(ConfigError, match="line 2: a value is not what it looks like"):
        config.load(path)


def test_a_model_in_nobodys_home_is_told(tmp_path: Path) -> None:
    path = write(tmp_path, GOOD + "\nembeddings: {model: ~nobody-of-this-name/m}\n")
    with pytest.raises(ConfigError, match=r"embeddings\.model"):
        config.load(path)


@settings(
    max_examples=30, deadline=None, derandomize=True, database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)  # fmt: skip
@given(st.binary(max_size=80), st.integers(0, 10_000), st.integers(0, 10))
def test_a_good_file_with_odd_bytes_in_it_is_told(
    tmp_path: Path, odd: bytes, at: int, cut: int
) -> None:
    path = write(tmp_path, GOOD)
    data = path.read_bytes().replace(b"as_token: ", f"as_token: {SECRET}".encode())
    at %= len(data)
    path.write_bytes(data[:at] + odd + data[at + cut :])
    _told(path)
