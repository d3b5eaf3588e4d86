"""The rules that keep the tree easy to read, held by a test instead of by memory."""

import ast
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "memtrix_as"
VALUES = {"errors", "messages", "tool"}

# Who may import whom; a part may always import itself. Whatever is not here may import all:
# app, engine, worker, __main__, testing and terminal put the parts together.
MAY_IMPORT: dict[str, set[str]] = {
    "errors": set(),
    "messages": {"errors"},
    "tool": {"errors", "messages"},
    "foreign": set(),
    "settings": VALUES,
    "config": VALUES | {"settings"},
    "local": VALUES | {"config", "settings"},
    "database": VALUES | {"config", "local"},
    "measures": VALUES,
    "health": VALUES | {"config", "db", "measures"},
    "db": VALUES | {"config"},
    "providers": VALUES | {"config", "foreign"},
    "matrix": VALUES | {"config", "settings", "db", "measures"},
    "memory": VALUES | {"config", "db", "providers"},
    "attachments": VALUES | {"config", "db", "memory", "workspace", "documents"},
    "agent": VALUES
    | {"config", "db", "providers", "memory", "attachments", "workspace", "measures"},
    "outbound": VALUES | {"config"},
    "workspace": VALUES | {"config"},
    "documents": VALUES,
    "tools": VALUES
    | {"agent", "attachments", "memory", "db", "outbound", "workspace", "documents", "foreign"},
}
ASSEMBLERS = {
    *("__init__", "__main__", "app", "engine", "running", "worker", "admin", "backup", "doctor"),
    *("journal_files", "original", "terminal", "testing"),
}

# Libraries that one part keeps to itself, so that it can be replaced there.
KEPT = {
    "mautrix": {"matrix"},
    "asyncpg": {"db", "local"},
    "psycopg": {"db", "local"},
    "psycopg_pool": {"db"},
    "procrastinate": {"db"},
    "openai": {"providers"},
    "jsonschema": {"tools"},
    "dulwich": {"outbound"},
    "prometheus_client": {"measures"},
    "lxml": {"documents"},
    "trafilatura": {"documents"},
    "pypdfium2": {"documents"},
    "PIL": {"documents"},
    "prompt_toolkit": {"terminal"},
    "searx": set(),  # AGPL: the tests run it as a program of its own
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
    "db/queue.py": "one background job: were it to end, nothing would be handled any more",
    "foreign.py": "what others wrote disables itself when it breaks, and nothing else",
    "providers/catalog.py": "a constructor that somebody else wrote: told like a wrong key",
    "providers/plain.py": "a provider that somebody else wrote: told in the room like a server's",
    "agent/approvals.py": "one background job: were it to end, no question would expire",
    "agent/nightly.py": "one background job: were it to end, old rows would stay for ever",
    "agent/silence.py": "one background job: were it to end, nobody would be told what is late",
    "agent/loop.py": "one tool call: its failure is an answer to the model",
    "memory/keeper.py": "one background task: were it to end, nothing new would be remembered",
    "doctor/check.py": "one check: what the others found is told all the same",
    "agent/dispatcher.py": "one inbox item: the lane goes on with the next",
}

ANYTHING = {"Exception", "BaseException"}

SQL = re.compile(
    r"\b(select\b.+\bfrom|insert\s+into|update\s+\w+\s+set|delete\s+from|create\s+table|alter\s+table)\b",
    re.IGNORECASE | re.DOTALL,
)
SQL_EXCEPTIONS = {
    "local": "makes the database itself: asks a fresh server whether it is there",
}


@dataclass(frozen=True)
class File:
    """A file of the package: its path below the package, its text, and what Python reads in it."""

    name: str
    text: str
    tree: ast.Module

    @property
    def part(self) -> str:
        return self.name.split("/")[0].removesuffix(".py")

    def walk(self, *kinds: type[ast.AST]) -> list[Any]:
        return [node for node in ast.walk(self.tree) if isinstance(node, kinds)]

    def imported(self) -> set[str]:
        """The full names of all modules that it imports, or imports from."""
        names = {alias.name for node in self.walk(ast.Import) for alias in node.names}
        for node in self.walk(ast.ImportFrom):
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
        return names

    def docstrings(self) -> set[int]:
        """The ids of the nodes that are docstrings: prose may speak of SQL."""
        owners = self.walk(ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
        bodies = [owner.body for owner in owners if owner.body]
        return {id(body[0].value) for body in bodies if isinstance(body[0], ast.Expr)}

    def catches_everything(self) -> bool:
        """Whether a handler takes any exception and does not pass it on."""
        return any(
            (handler.type is None or set(re.findall(r"\w+", ast.unparse(handler.type))) & ANYTHING)
            and not any(isinstance(node, ast.Raise) and node.exc is None for node in handler.body)
            for handler in self.walk(ast.ExceptHandler)
        )


def read(path: Path) -> File:
    text = path.read_text()
    return File(path.relative_to(PACKAGE).as_posix(), text, ast.parse(text))


FILES = [read(path) for path in sorted(PACKAGE.rglob("*.py"))]


def test_imports_point_one_way() -> None:
    wrong = {}
    for file in FILES:
        assert file.part in {*MAY_IMPORT, *ASSEMBLERS}, f"{file.part} is new: what may it import?"
        parts = {m.split(".")[1] for m in file.imported() if m.startswith("memtrix_as.")}
        allowed = MAY_IMPORT.get(file.part, parts) | {file.part, "__version__"}
        wrong[file.name] = parts - allowed
    assert not {name: parts for name, parts in wrong.items() if parts}


def test_imports_stand_at_the_top() -> None:
    lazy = [
        f"{file.name}:{node.lineno}"
        for file in FILES
        for function in file.walk(ast.FunctionDef, ast.AsyncFunctionDef)
        for node in ast.walk(function)
        if isinstance(node, ast.Import | ast.ImportFrom)
    ]
    assert not lazy


def test_no_state_hides_in_a_module() -> None:
    assert not [f"{file.name}:{n.lineno}" for file in FILES for n in file.walk(ast.Global)]


def test_libraries_stay_in_their_part() -> None:
    strangers = [
        f"{file.name} imports {library}"
        for file in FILES
        for library in {module.split(".")[0] for module in file.imported()} & set(KEPT)
        if file.part not in KEPT[library] and library not in KEPT_EXCEPTIONS.get(file.name, set())
    ]
    assert not strangers


def test_only_config_reads_the_environment() -> None:
    names = {"environ", "environb", "getenv", "putenv"}
    reads = [
        f"{file.name}:{node.lineno}"
        for file in FILES
        for node in file.walk(ast.Attribute, ast.Name)
        if getattr(node, "attr", getattr(node, "id", "")) in names
    ]
    assert not [place for place in reads if not place.startswith("config.py:")]


def test_sql_stands_in_db() -> None:
    queries = [
        f"{file.name}:{node.lineno} {node.value[:60]!r}"
        for file in FILES
        if file.part != "db" and file.part not in SQL_EXCEPTIONS
        for node in file.walk(ast.Constant)
        if isinstance(node.value, str) and SQL.search(node.value)
        if id(node) not in file.docstrings()
    ]
    assert not queries


def test_everything_is_caught_in_named_places_only() -> None:
    assert {file.name for file in FILES if file.catches_everything()} == set(CATCH_ALL)


def test_a_file_says_what_it_is_for() -> None:
    for file in FILES:
        first = (ast.get_docstring(file.tree) or "").split("\n\n")[0]
        assert file.text.startswith('"""') and first.endswith((".", ":")), file.name


def test_files_and_functions_are_short() -> None:
    long = {file.name for file in FILES if file.text.count("\n") > MAX_LINES}
    assert long == set(LONG_FILES)
    slow = {
        f"{file.name}::{function.name}"
        for file in FILES
        for function in file.walk(ast.FunctionDef, ast.AsyncFunctionDef)
        if function.end_lineno - function.lineno >= MAX_FUNCTION
    }
    assert slow == set(LONG_FUNCTIONS)


def test_the_exceptions_are_still_needed() -> None:
    """A reason that no longer applies to any file is taken out."""
    assert set(KEPT_EXCEPTIONS) <= {file.name for file in FILES}


def test_the_tests_are_short_and_mock_nothing() -> None:
    for path in (ROOT / "tests").rglob("*.py"):
        text = path.read_text()
        assert text.count("\n") <= MAX_LINES, path
        assert "unittest" + ".mock" not in text, path
