"""Reading what models write: thoughts among text, and calls written as text."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memtrix_as.messages import Delta
from memtrix_as.providers import arguments, written_calls
from memtrix_as.providers.thinking import Splitter
from memtrix_as.providers.written_calls import Holder

TOOLS = ["get_current_time", "read_file"]
PIECES = [
    *("<think>", "</think>", "<thinking>", "</thinking>", "<thin", "k>", "<", "`", "```", "~~~"),
    *("\n", " ", "Hello", "```json\n", '{"name": ', '"read_file"', '"arguments": {}}', "[", "]"),
    *("<tool_call>", "</tool_call>", "[TOOL_CALLS]", "<function=read_file>", "{", "}", "a", "é"),
]
TEXTS = st.lists(st.sampled_from(PIECES), max_size=14).map("".join) | st.text(max_size=40)


@st.composite
def cut(draw: st.DrawFn) -> list[str]:
    """A text, cut at any places."""
    text = draw(TEXTS)
    places = sorted(draw(st.sets(st.integers(0, len(text)))))
    return [text[a:b] for a, b in zip([0, *places], [*places, len(text)], strict=True)]


def split(pieces: list[str]) -> tuple[str, str, list[Delta], int]:
    splitter = Splitter()
    deltas = [splitter.feed(piece) for piece in pieces] + [splitter.finish()]
    return splitter.text, splitter.reasoning, deltas, splitter.rewinds


@given(cut())
def test_how_a_text_is_cut_does_not_change_what_is_thought(pieces: list[str]) -> None:
    text, reasoning, deltas, rewinds = split(pieces)
    assert split(["".join(pieces)])[:2] == (text, reasoning)
    assert split(list("".join(pieces)))[:2] == (text, reasoning)
    if not rewinds:  # then what was streamed is what stands in the end, but for blanks around
        assert "".join(d.text for d in deltas).strip() == text.strip()
        assert "".join(d.reasoning for d in deltas).strip() == reasoning


@given(TEXTS.filter(lambda text: "think" not in text.lower()))
def test_text_without_thoughts_is_not_touched(text: str) -> None:
    assert split(list(text))[:2] == (text, "")


@pytest.mark.parametrize(
    ("written", "text", "reasoning"),
    [
        ("<think>a</think>b", "b", "a"),
        ("<thinking>\na\n</thinking>\n\nb", "b", "a"),
        ("\n<THINK>a</THINK> b", "b", "a"),
        ("Hello <think>a</think>you", "Hello you", "a"),
        ("One.\n<think>a</think>\nTwo.", "One.\n\nTwo.", "a"),
        ("<think></think>b", "b", ""),
        ("<think>never closed", "", "never closed"),
        ("a thought\n</think>\n\nThe answer.", "The answer.", "a thought"),
        ("a thought.</think>The answer.", "The answer.", "a thought."),
        ("</think>The answer.", "The answer.", ""),
        ("<think>a</think>b</think>c", "bc", "a"),
        ("Use the <think> tag for that.", "Use the <think> tag for that.", ""),
        ("`<think>a</think>` is a tag", "`<think>a</think>` is a tag", ""),
        ("```xml\n<think>a</think>\n```\nso", "```xml\n<think>a</think>\n```\nso", ""),
        ("~~~\n</think>\n~~~", "~~~\n</think>\n~~~", ""),
        ("<think>a</think>```\n<think>\n```", "```\n<think>\n```", "a"),
        ("a < b and <thi", "a < b and <thi", ""),
        ("It ends in ``", "It ends in ``", ""),
    ],
)
def test_thoughts(written: str, text: str, reasoning: str) -> None:
    assert split([written])[:2] == (text, reasoning)
    assert split(list(written))[:2] == (text, reasoning)


def test_a_thought_streams_while_it_is_thought() -> None:
    splitter = Splitter()
    assert splitter.feed("<thi") == Delta()
    assert splitter.feed("nk>so ") == Delta(reasoning="so ")
    assert splitter.feed("far</th") == Delta(reasoning="far")
    assert splitter.feed("ink>\n\nYes") == Delta(text="Yes")


def hold(pieces: list[str], tools: list[str] = TOOLS) -> tuple[str, str, list[str]]:
    """What went through at once, what came at the end, and the names of the calls."""
    holder = Holder(tools)
    at_once = "".join(holder.feed(piece) for piece in pieces)
    rest, calls = holder.finish()
    return at_once, rest, [call.name for call in calls]


@given(cut())
def test_prose_is_never_lost_or_altered(pieces: list[str]) -> None:
    whole = "".join(pieces)
    at_once, rest, calls = hold(pieces)
    if calls:
        assert not at_once and not rest, "nobody has seen a piece of a call"
        assert hold(list(whole))[2] == calls
    else:
        assert at_once + rest == whole
    assert hold(pieces, [])[0] == whole


@given(st.text(max_size=60).map(lambda text: "Well, " + text), st.integers(1, 8))
def test_prose_streams_at_once(text: str, size: int) -> None:
    pieces = [text[at : at + size] for at in range(0, len(text), size)]
    assert hold(pieces) == (text, "", [])


CALL = '{"name": "read_file", "arguments": {"path": "a.txt"}}'


@pytest.mark.parametrize(
    "written",
    [
        CALL,
        f"  {CALL}\n",
        '{"name": "Read-File", "parameters": {"path": "a.txt"}}',
        '{"type": "function", "function": {"name": "read_file", "arguments": {"path": "a.txt"}}}',
        '{"type": "function", "name": "read_file", "parameters": {"path": "a.txt"}}',
        '{"tool": "read_file", "args": {"path": "a.txt"}}',
        '{"name": "read_file", "arguments": "{\\"path\\": \\"a.txt\\"}"}',
        "{'name': 'read_file', 'arguments': {'path': 'a.txt'}}",
        '{"name": "read_file", "arguments": {"path": "a.txt",},}',
        '{"tool_calls": [' + CALL + "]}",
        f"[{CALL}]",
        f"```json\n{CALL}\n```",
        f"```\n{CALL}\n```",
        f"```tool_call\n{CALL}",
        f"<tool_call>\n{CALL}\n</tool_call>",
        f"<tool_call>{CALL}",
        f"<|tool_call|>[{CALL}]",
        f"<|python_tag|>{CALL}<|eom_id|>",
        f"[TOOL_CALLS][{CALL}]",
        '[TOOL_CALLS]read_file[ARGS]{"path": "a.txt"}',
        '[TOOL_CALLS]read_file{"path": "a.txt"}</s>',
        '<function=read_file>{"path": "a.txt"}</function>',
        "<function=read_file>\n<parameter=path>\na.txt\n</parameter>\n</function>",
        "<tool_call>\n<function=read_file>\n<parameter=path>\na.txt\n</parameter>\n</function>"
        "\n</tool_call>",
    ],
)
def test_a_written_call(written: str) -> None:
    found = written_calls.parse(written, TOOLS)
    assert found and len(found) == 1
    assert written_calls.resolve(found[0].name, TOOLS) == "read_file"
    assert (found[0].arguments, found[0].problem) == ({"path": "a.txt"}, None)
    assert hold(list(written)) == ("", "", [found[0].name])


@pytest.mark.parametrize(
    "written",
    [
        f"{CALL}\n{CALL}",
        f"{CALL}, {CALL}",
        f"{CALL};{CALL}",
        f"[{CALL}, {CALL}]",
        f"```json\n{CALL}\n```\n\n```json\n{CALL}\n```",
        f"<tool_call>{CALL}</tool_call>\n<tool_call>{CALL}</tool_call>",
        f"[TOOL_CALLS][{CALL}, {CALL}]",
        '<function=read_file>{"path": "a.txt"}</function><function=read_file>{}</function>',
    ],
)
def test_two_written_calls(written: str) -> None:
    assert hold([written])[2] == ["read_file", "read_file"]


@pytest.mark.parametrize(
    "prose",
    [
        f"Such a call looks so: {CALL}",
        f"{CALL}\nThis would read the file.",
        f"```json\n{CALL}\n```\nThis would read the file.",
        '{"name": "Bob", "arguments": {"age": 3}}',
        '{"name": "read_file", "age": 3}',
        '{"name": "read_file", "description": "Reads", "parameters": {"type": "object"}}',
        '{"name": "read_file", "arguments": 3}',
        '{"city": "Rome"}',
        '{"name": "read_file", "arguments": {',
        "{{ a template }}",
        "```python\nprint('hi')\n```",
        "```json\n[1, 2]\n```",
        "[a link](https://example.com)",
        "[1, 2, 3]",
        "<table><tr></tr></table>",
        "``a`` and `b`",
    ],
)
def test_what_stays_prose(prose: str) -> None:
    at_once, rest, calls = hold(list(prose))
    assert (at_once + rest, calls) == (prose, [])


def test_what_cannot_become_a_call_is_shown_at_once() -> None:
    starts = ('{"city": "Ro', "```python\n", "[a", "{{", '{"name": "Bob"', "``a", "<table")
    assert all(hold([start])[0] == start for start in starts)


def test_a_marked_call_may_be_wrong_and_is_then_explained() -> None:
    [unknown] = written_calls.parse('<tool_call>{"name": "fly", "arguments": {}}', TOOLS) or []
    assert unknown.name == "fly" and unknown.problem is None
    broken = '<tool_call>{"name": "read_file", "arguments": {"path": </tool_call>'
    [call] = written_calls.parse(broken, TOOLS) or []
    assert call.name == "read_file" and call.problem and "JSON" in call.problem


def test_a_files_content_keeps_its_blanks() -> None:
    written = "<function=read_file><parameter=text>\n  a\n\n  b\n\n</parameter></function>"
    [call] = written_calls.parse(written, TOOLS) or []
    assert call.arguments == {"text": "  a\n\n  b\n"}


@pytest.mark.parametrize(
    ("raw", "value"),
    [
        ("", {}),
        ("null", {}),
        ('{"a": 1}', {"a": 1}),
        ('```json\n{"a": 1}\n```', {"a": 1}),
        ('{"a": [1, 2,], }', {"a": [1, 2]}),
        ('{"a": ",}"}', {"a": ",}"}),
        ("{'a': True, 'b': None}", {"a": True, "b": None}),
        ('"{\\"a\\": 1}"', {"a": 1}),
        ('""', {}),
        ('{"a": "one\ntwo"}', {"a": "one\ntwo"}),
        ('{"a": "\\ud83d\\ude00"}', {"a": "\U0001f600"}),
        ('{"a": "\\ud83d", "b": "\\u0000x"}', {"a": "\ufffd", "b": "x"}),
    ],
)
def test_arguments_that_can_be_read(raw: str, value: object) -> None:
    assert arguments.read(raw) == (value, None)


@pytest.mark.parametrize(
    "raw",
    [
        *(
            '{"a": ',
            "[1]",
            "3",
            '"text"',
            "{'a': {1, 2}}",
            '{"a": NaN}',
            "{a: 1}",
            '{"a": [1e999]}',
            "[" * 100_000,
        ),
        *("{" * 100_000, '{"a": 1} {"b": 2}', "__import__('os')", "{'a': open('x')}"),
        '{"a": "' + "x" * arguments.MAX_LENGTH + '"}',
    ],
)
def test_arguments_that_cannot_be_read(raw: str) -> None:
    value, problem = arguments.read(raw)
    assert value == {} and problem and len(problem) < 200


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(st.characters(codec="utf-8")),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters(codec="utf-8")), inner),
    max_leaves=8,
)


@given(st.dictionaries(st.text(st.characters(codec="utf-8", exclude_characters="\0")), JSON))
def test_valid_arguments_come_out_as_they_are(value: dict[str, object]) -> None:
    for raw in (json.dumps(value), json.dumps(value, ensure_ascii=False)):
        if "\\u0000" not in raw:
            assert arguments.read(raw) == (value, None)


@given(st.text())
def test_anything_at_all_can_be_tried(raw: str) -> None:
    value, problem = arguments.read(raw)
    assert isinstance(value, dict) and (not problem or not value)
