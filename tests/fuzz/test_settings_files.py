"""The configuration: whatever stands in the file, it is read, or refused in words."""

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memtrix_as import config
from memtrix_as.errors import ConfigError
from tests.fuzz.junk import tries
from tests.test_config import GOOD

SECRET = "that-nobody-else-knows"


def told(folder: Path, content: bytes) -> str:
    """What both ways of reading say; empty if it is a configuration."""
    path = folder / "config.yaml"
    path.write_bytes(content)
    said = ""
    for read in (config.load, config.load_service):
        try:
            read(path)
        except ConfigError as exc:
            said = said or str(exc)
            # one that stands under another key by now is shown as any value of that key is
            assert SECRET not in str(exc) or "cannot be used:\n" in str(exc)
    assert len(said) < 20_000
    return said


def multiplied() -> str:
    """A few lines of aliases that mean a billion values."""
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]
    return "    ".join(["", *(f"{line}\n" for line in lines)])


@pytest.mark.parametrize(
    ("more", "key_or_line"),
    [
        ("limits: {tool_rounds: " + "9" * 5000 + "}", "line 15"),
        ("limits: {tool_rounds: 0x" + "f" * 5000 + "}", "limits.tool_rounds"),
        ("limits: {turn_timeout: " + "9" * 500 + "}", "limits.turn_timeout"),
        ("limits: {turn_timeout: 2001-99-99}", "line 15"),
        ("limits: !!int many", "line 15"),
        ("limits: !!bool perhaps", "line 15"),
        ("? [a, {b: c}]\n: d", "list as a key"),
        ("x: " + "[" * 2000 + "]" * 2000, "too deep"),
        ("logging: &a {version: 1, x: *a}", "alias"),
        ("providers:\n  bad:\n    type: ollama\n" + multiplied(), "alias"),
        ("search: {searxng_url: $" + "a" * 5000 + "}", "search.searxng_url"),
        ('search: {searxng_url: "http://\\ud800"}', "search.searxng_url"),
        ("workspace_directory: ~nobody-of-this-name/x", "workspace_directory"),
        ("x: \0", "line 15"),
        ("x: \x07", "line 15"),
    ],
    ids=lambda text: ascii(text[:40]),
)
def test_what_the_library_trips_over_is_told(tmp_path: Path, more: str, key_or_line: str) -> None:
    good = GOOD if "providers:" not in more else re.sub(r"providers:\n.*\n", "", GOOD)
    assert key_or_line in told(tmp_path, f"{good}{more}\n".encode())


@pytest.mark.parametrize("mark", ["*", "!", "!!timestamp ", "!!binary ", "&", "%", "@", "`", "|"])
def test_a_token_that_looks_like_yaml_is_not_told(tmp_path: Path, mark: str) -> None:
    said = told(tmp_path, GOOD.replace("as_token: ", f"as_token: {mark}").encode())
    assert SECRET not in said
    said = told(tmp_path, (mark + GOOD).encode())
    assert SECRET not in said


def test_a_thousand_wrong_keys_are_not_a_thousand_lines(tmp_path: Path) -> None:
    said = told(tmp_path, (GOOD + "".join(f"key{n}: 1\n" for n in range(1000))).encode())
    assert said.count("\n") < 60 and "and 950 more" in said


PIECES = [
    *("&a ", "*a", "!!int ", "!!float ", "!!binary ", "!!set ", "!!omap ", "!!timestamp ", "<<: "),
    *("{", "}", "[", "]", ": ", "- ", "? ", "\n", "\n  ", "|", ">", "'", '"', "#", "%YAML 1.1\n"),
    *("---\n", "...\n", "~", ".nan", ".inf", "0x", "1e999", "1:99:99", "2001-13-45", "$X", "=\n"),
    *("\ufeff", "\x07", "\0", "\u2028", "limits", "appservice", "as_token", "providers", "true"),
]


@tries(250)
@given(
    st.integers(0, len(GOOD)),
    st.integers(0, 40),
    st.lists(st.sampled_from(PIECES) | st.text(max_size=4), max_size=8).map("".join),
)
def test_a_file_broken_anywhere_is_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, at: int, removed: int, put: str
) -> None:
    text = GOOD[:at] + put + GOOD[at + removed :]
    told(tmp_path_factory.getbasetemp(), text.encode("utf-8", "surrogatepass"))


@tries(100)
@given(st.binary(max_size=60), st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "latin-1"]))
def test_any_bytes_are_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, raw: bytes, encoding: str
) -> None:
    told(tmp_path_factory.getbasetemp(), GOOD.encode(encoding) + raw)
