"""Changing a commented YAML text: values change, and what is said about them stays."""

from pathlib import Path

import pytest
from ruamel.yaml import YAML

from memtrix_as.settings.editing import merged

TEXT = """\
# the file
a:
  one: 1   # first
  # about two
  two: 2

# about b
b:
  x:
    deep: 1
    # deeper: 2

# about c
c: 3
# the end
"""


def test_nothing_changes_without_changes() -> None:
    assert merged(TEXT, {}) == TEXT
    assert merged(TEXT, {"a": {"one": 1}, "c": 3}) == TEXT
    example = (Path(__file__).parents[1] / "config.example.yaml").read_text()
    assert merged(example, YAML(typ="safe").load(example)) == example


@pytest.mark.parametrize(
    ("changes", "before", "after"),
    [
        ({"a": {"one": 7}}, "one: 1   # first", "one: 7   # first"),
        ({"a": {"two": 7}}, "two: 2", "two: 7"),
        ({"a": {"three": 3}}, "two: 2\n", "two: 2\n  three: 3\n"),
        ({"c": 4}, "c: 3", "c: 4"),
        ({"d": {"e": 5}}, "c: 3\n", "c: 3\nd:\n  e: 5\n"),
        ({"b": {"y": {"deep": 2}}}, "    deep: 1\n", "    deep: 1\n  y:\n    deep: 2\n"),
    ],
)
def test_a_change_is_the_only_difference(
    changes: dict[str, object], before: str, after: str
) -> None:
    assert merged(TEXT, changes) == TEXT.replace(before, after)


def test_a_whole_section_loses_what_is_not_named_and_no_comment_after_it() -> None:
    changed = merged(TEXT, {"b": {"y": {"other": [1, 2]}}}, whole=["b"])
    assert YAML(typ="safe").load(changed)["b"] == {"y": {"other": [1, 2]}}
    assert "# about c" in changed and "# deeper: 2" in changed and "# the end" in changed
    assert changed.index("other") < changed.index("# about c") < changed.index("c: 3")
