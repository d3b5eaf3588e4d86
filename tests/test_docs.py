"""What README and docs speak of is there: links, anchors, settings, commands, metrics."""

import ast
import dataclasses
import re
import types
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

import pytest

from memtrix_as import __main__ as command_line
from memtrix_as.agent import commands
from memtrix_as.config import Config
from memtrix_as.matrix import answers
from memtrix_as.measures import Measures
from memtrix_as.settings.fields import REST

ROOT = Path(__file__).parents[1]
DOCS = sorted((ROOT / "docs").glob("*.md"))
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *DOCS]
FENCE = re.compile(r"^( *)```.*?^\1```", re.DOTALL | re.MULTILINE)
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
QUOTED = re.compile(r"`([^`\n]+)`")
HEADING = re.compile(r"^#+ +(.*)$", re.MULTILINE)

each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)


def prose(page: Path) -> str:
    return FENCE.sub("", page.read_text())


def anchors(page: Path) -> set[str]:
    """As GitHub makes them of headings: lower case, spaces to hyphens, other signs left out."""
    headings = (LINK.sub(r"\1", text) for text in HEADING.findall(prose(page)))
    return {re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-") for text in headings}


@each_page
def test_links_lead_somewhere(page: Path) -> None:
    for link in LINK.findall(prose(page)):
        if re.match(r"\w+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.is_relative_to(ROOT) and target.exists(), f"{link} leads nowhere"
        if anchor:
            assert anchor in anchors(target), f"{link}: there is no such heading"


def test_the_map_has_every_page() -> None:
    listed = LINK.findall((ROOT / "docs" / "README.md").read_text())
    assert {page.name for page in DOCS} - {"README.md"} <= set(listed)


def has(kind: Any, path: list[str]) -> bool:
    """Whether a settings class, or what it holds, has a value at this path."""
    rest = REST in get_args(kind)[1:] if get_origin(kind) is Annotated else False
    while get_origin(kind) is Annotated:
        kind = get_args(kind)[0]
    if not path or rest:
        return True
    if get_origin(kind) in (types.UnionType, Union):
        return any(has(one, path) for one in get_args(kind))
    if get_origin(kind) is Mapping:
        return has(get_args(kind)[1], path[1:])
    if not dataclasses.is_dataclass(kind):
        return kind is Any
    hints = get_type_hints(kind, include_extras=True)
    if path[0] in hints:
        return has(hints[path[0]], path[1:])
    return any(REST in get_args(hint)[1:] for hint in hints.values())


def test_has_knows_a_key_from_none() -> None:
    assert has(Config, ["limits", "turn_timeout"]) and has(Config, ["models", "X", "price"])
    assert has(Config, ["providers", "X", "whatever"])
    assert not has(Config, ["limits", "turn_time"]) and not has(Config, ["limits", "agents", "x"])


@each_page
def test_settings_that_are_named_are_there(page: Path) -> None:
    sections = "|".join(field.name for field in dataclasses.fields(Config))
    key = re.compile(rf"({sections})((\.\w+|\.…)+)(?=$|[:\s])")
    for quoted in QUOTED.findall(prose(page)):
        if (found := key.match(quoted)) and not quoted.endswith((".py", ".md", ".yaml")):
            assert has(Config, found[0].split(".")), f"{found[0]} is no setting"


# What begins with a slash and is none of ours: a slip, Element's own, an endpoint, an example's.
OTHERS = {"statsu", "admin", "agent", "healthz", "readyz", "metrics", "messages", "sync", "proc"}
TERMINAL = {"quit", "exit", "attach"}


@each_page
def test_commands_of_a_room_that_are_named_are_there(page: Path) -> None:
    known = {*commands.COMMANDS, *TERMINAL, *OTHERS}
    for quoted in QUOTED.findall(prose(page)):
        if found := re.fullmatch(r"(?:/{1,2}|!)([a-z]+)( .*)?", quoted):
            name = found[1]
            assert name in known or answers.word(f"/{name}"), f"{quoted} is no command"


@each_page
def test_commands_of_the_program_that_are_named_are_there(page: Path) -> None:
    parser = command_line._parser()
    known = next(action.choices for action in parser._actions if action.dest == "command")
    assert known
    for name in re.findall(r"(?<![-\w/])memtrix-as (\w[\w-]*)", page.read_text()):
        assert name in known, f"memtrix-as {name} is no command"


@each_page
def test_metrics_that_are_named_are_there(page: Path) -> None:
    text = Measures().text().decode()
    known = set(re.findall(r"^# TYPE (\S+)", text, re.MULTILINE))
    for quoted in QUOTED.findall(prose(page)):
        if found := re.fullmatch(r"(memtrix_[a-z_]+?)(?:\{.*\})?", quoted):
            name = found[1]
            a_module = (ROOT / name).is_dir() or name in PEOPLE
            assert a_module or name in known, f"{name} is no metric"


PEOPLE = {"memtrix_postgres"}  # a volume of docker-compose.yml


def sayings() -> str:
    """All that the program can say: its strings, with a … for what is filled in."""
    said = []
    for path in [*(ROOT / "memtrix_as").rglob("*.py"), ROOT / "scripts" / "environment"]:
        if path.suffix != ".py":
            said.append(path.read_text())
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.JoinedStr):
                parts = (p.value if isinstance(p, ast.Constant) else "…" for p in node.values)
                said.append("".join(map(str, parts)))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                said.append(node.value)
    return "\n".join(said).replace("`", "")


def test_messages_that_are_told_of_are_said() -> None:
    """The first column of the tables of troubleshooting, between its gaps, word for word."""
    all_said = sayings()
    rows = re.findall(r"^\| ([^|]+) \|", prose(ROOT / "docs" / "troubleshooting.md"), re.MULTILINE)
    told = [text for row in rows for text in re.findall(r"`([^`]+ [^`]+)`|\"([^\"]+)\"", row)]
    messages = [a or b for a, b in told if not (a or b).startswith("docker")]
    assert len(messages) > 30
    for message in messages:
        for piece in re.split(r"…|config\.yaml|\$NAME|\b0 of", message):
            assert piece.strip() in all_said, f"nothing says {piece.strip()!r}"
