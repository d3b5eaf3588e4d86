"""The rules that keep the tree easy to read, held by a test instead of by memory."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "memtrix_as"
VALUES = {"errors", "messages", "tool"}

# Who may import whom; a part may always import itself. Whatever is not here may import all:
# app, __main__, testing and terminal put the parts together.
MAY_IMPORT: dict[str, set[str]] = {
    "errors": set(),
    "messages": {"errors"},
    "tool": {"errors", "messages"},
    "settings": VALUES,
    "config": VALUES | {"settings"},
    "local": VALUES | {"config", "settings"},
    "database": VALUES | {"config", "local"},
    "db": VALUES | {"config"},
    "providers": VALUES | {"config"},
    "matrix": VALUES | {"config", "settings", "db"},
    "memory": VALUES | {"config", "db", "providers"},
    "agent": VALUES | {"config", "db", "providers", "memory"},
    "tools": VALUES | {"memory", "db"},
}
ASSEMBLERS = {"__init__", "__main__", "app", "testing", "terminal", "admin"}

# Libraries that one part keeps to itself, so that it can be replaced there.
KEPT = {
    "mautrix": {"matrix"},
    "asyncpg": {"db", "local"},
    "psycopg": {"db", "local"},
    "psycopg_pool": {"db"},
    "procrastinate": {"db"},
    "openai": {"providers"},
}
KEPT_EXCEPTIONS = {
    "database.py": {"asyncpg"},  # asks whether the server it found really is ours
    "matrix/appservice.py": {"asyncpg"},  # tells the homeserver 503 for the database's errors
}

MAX_LINES, MAX_FUNCTION = 400, 60
LONG_FILES: dict[str, str] = {}  # file: why it may be longer
LONG_FUNCTIONS: dict[str, str] = {}  # file::function: why it may be longer

# Where anything at all may be caught, because something foreign runs there.
CATCH_ALL: dict[str, str] = {
    "matrix/appservice.py": "one event that breaks us must not hold back its neighbours",
    "providers/catalog.py": "a broken provider file disables itself, and nothing else",
    "agent/loop.py": "one tool call: its failure is an answer to the model",
    "agent/dispatcher.py": "one inbox item: the lane goes on with the next",
}

SQL = re.compile(
    r"\b(select\b.+\bfrom|insert\s+into|update\s+\w+\s+set|delete\s+from|create\s+table|alter\s+table)\b",
    re.IGNORECASE | re.DOTALL,
)
SQL_EXCEPTIONS = {
    "local": "makes the database itself: asks a fresh server whether it is there",
}

FILES = sorted(PACKAGE.rglob("*.py"))
Function = ast.FunctionDef | ast.AsyncFunctionDef


def name_of(path: Path) -> str:
    return path.relative_to(PACKAGE).as_posix()


def part_of(path: Path) -> str:
    return name_of(path).split("/")[0].removesuffix(".py")


def imported(tree: ast.AST) -> Iterator[str]:
    """The full names of all modules that a file imports, or imports from."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def functions(tree: ast.AST) -> list[Function]:
    return [node for node in ast.walk(tree) if isinstance(node, Function)]


def docstrings(tree: ast.AST) -> set[int]:
    """The ids of the nodes that are docstrings: prose may speak of SQL."""
    owners = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    return {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, owners) and node.body and isinstance(node.body[0], ast.Expr)
    }


@pytest.fixture(params=FILES, ids=name_of)
def path(request: pytest.FixtureRequest) -> Path:
    assert isinstance(request.param, Path)
    return request.param


@pytest.fixture
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


def test_imports_point_one_way(path: Path, tree: ast.Module) -> None:
    part = part_of(path)
    assert part in MAY_IMPORT or part in ASSEMBLERS, f"{part} is new: say what it may import"
    names = [m.split(".") for m in imported(tree) if m.startswith("memtrix_as.")]
    parts = {name[1] for name in names} - {part, "__version__"}
    if part in MAY_IMPORT:
        assert parts <= MAY_IMPORT[part]


def test_imports_stand_at_the_top(tree: ast.Module) -> None:
    lazy = [
        f"{function.name}:{node.lineno}"
        for function in functions(tree)
        for node in ast.walk(function)
        if isinstance(node, ast.Import | ast.ImportFrom)
    ]
    assert not lazy


def test_no_state_hides_in_a_module(tree: ast.Module) -> None:
    assert not [node.lineno for node in ast.walk(tree) if isinstance(node, ast.Global)]


def test_libraries_stay_in_their_part(path: Path, tree: ast.Module) -> None:
    allowed = KEPT_EXCEPTIONS.get(name_of(path), set())
    strangers = {
        module.split(".")[0]
        for module in imported(tree)
        if part_of(path) not in KEPT.get(module.split(".")[0], {part_of(path)})
    }
    assert strangers <= allowed


def test_only_config_reads_the_environment(path: Path, tree: ast.Module) -> None:
    reads = [
        node.lineno
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute | ast.Name)
        and (getattr(node, "attr", None) or getattr(node, "id", None))
        in {"environ", "environb", "getenv", "putenv"}
    ]
    assert name_of(path) == "config.py" or not reads


def test_sql_stands_in_db(path: Path, tree: ast.Module) -> None:
    if part_of(path) == "db" or part_of(path) in SQL_EXCEPTIONS:
        return
    prose = docstrings(tree)
    queries = [
        f"{node.lineno}: {node.value[:60]}"
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
        if id(node) not in prose and SQL.search(node.value)
    ]
    assert not queries


def catches_everything(tree: ast.AST) -> list[int]:
    """The lines of handlers that take any exception and do not pass it on."""
    return [
        handler.lineno
        for handler in ast.walk(tree)
        if isinstance(handler, ast.ExceptHandler)
        and (handler.type is None or ast.unparse(handler.type) in {"Exception", "BaseException"})
        and not any(isinstance(node, ast.Raise) and node.exc is None for node in handler.body)
    ]


def test_everything_is_caught_in_named_places_only(path: Path, tree: ast.Module) -> None:
    assert bool(catches_everything(tree)) == (name_of(path) in CATCH_ALL)


def test_a_file_says_what_it_is_for(path: Path, tree: ast.Module) -> None:
    first = (ast.get_docstring(tree) or "").split("\n\n")[0]
    assert first.endswith("."), "the file does not begin with a sentence that says its purpose"
    assert path.read_text().startswith('"""')


def test_files_and_functions_are_short(path: Path, tree: ast.Module) -> None:
    name = name_of(path)
    assert name in LONG_FILES or path.read_text().count("\n") <= MAX_LINES
    long = {
        f"{name}::{f.name}"
        for f in functions(tree)
        if (f.end_lineno or 0) - f.lineno >= MAX_FUNCTION
    }
    assert long <= set(LONG_FUNCTIONS)


def test_the_exceptions_are_still_needed() -> None:
    """A reason that no longer applies to any file is taken out."""
    names = {name_of(path) for path in FILES}
    assert {*LONG_FILES, *KEPT_EXCEPTIONS} <= names


def test_the_tests_are_short_and_mock_nothing() -> None:
    for path in (ROOT / "tests").rglob("*.py"):
        text = path.read_text()
        assert text.count("\n") <= MAX_LINES, path
        assert "unittest" + ".mock" not in text, path
