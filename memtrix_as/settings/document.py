"""YAML files: read with plain errors, and changed without losing their comments."""

import os
import re
import tempfile
from collections.abc import Callable, Mapping
from io import StringIO
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.constructor import (
    ConstructorError,
    DuplicateKeyError,
    RoundTripConstructor,
    SafeConstructor,
)
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from memtrix_as.errors import ConfigError

# of the first line within a section
_INDENT = re.compile(r"^[^\s#][^\n]*:[^\n]*\n(?:\s*#[^\n]*\n)*( +)[^\s#]", re.MULTILINE)
MOST_NODES, MOST_DEPTH = 100_000, 50  # of a file whose aliases are written out
_ODD = (ValueError, KeyError, IndexError, OverflowError)


class _Safe(SafeConstructor):
    """Says where a value stands that looks like a number or a date, and is none."""

    def construct_object(self, node: Any, deep: bool = False) -> Any:
        try:
            return super().construct_object(node, deep)
        except _ODD:
            raise _no_value(node) from None


class _RoundTrip(RoundTripConstructor):
    """The same, with comments."""

    def construct_object(self, node: Any, deep: bool = False) -> Any:
        try:
            return super().construct_object(node, deep)
        except _ODD:
            raise _no_value(node) from None


def _no_value(node: Any) -> ConstructorError:
    problem = "this looks like a number, a date or the like, and is none; put it in quotes"
    return ConstructorError(None, None, problem, node.start_mark)


def read(path: Path) -> dict[str, Any]:
    """The file as plain dicts and lists; ConfigError when it is missing or is not YAML."""
    yaml = YAML(typ="safe", pure=True)
    yaml.Constructor = _Safe
    document = _load(yaml, path)
    if _is_endless(document):
        raise ConfigError(
            f"{path} cannot be used: it holds more than {MOST_NODES} values, or sections in more "
            f"than {MOST_DEPTH} others. Aliases (`*name`) that repeat each other do that."
        )
    return document


def _is_endless(document: object) -> bool:
    """Whether aliases make more of a small file than anybody can look at."""
    count, todo = 0, [(document, 0)]
    while todo:
        node, depth = todo.pop()
        below = list(node.values()) if isinstance(node, dict) else node
        if not isinstance(below, list):
            continue
        count += len(below)
        if count > MOST_NODES or depth > MOST_DEPTH:
            return True
        todo += [(one, depth + 1) for one in below]
    return False


def parse(text: str) -> dict[str, Any]:
    """A document that `dump` wrote."""
    return dict(YAML(typ="safe", pure=True).load(text))


def change(path: Path, values: Mapping[str, Any]) -> None:
    """Set values by dotted key, keeping comments and order; the file becomes mode 0600."""
    yaml = round_trip()
    document = _load(yaml, path)
    _keep_columns(yaml, path.read_text("utf-8"))
    for key, value in values.items():
        *sections, name = key.split(".")
        section: Any = document
        for at in sections:
            if not isinstance(section.get(at), dict):
                section[at] = {}
            section = section[at]
        section[name] = value
    _write(path, lambda stream: yaml.dump(document, stream))


def _keep_columns(yaml: YAML, text: str) -> None:
    """Comments keep their columns, so the lines between them must keep theirs."""
    if indent := _INDENT.search(text):
        yaml.indent(len(indent[1]), len(indent[1]) + 2, len(indent[1]))


def write_text(path: Path, text: str) -> None:
    """Replace a file as a whole, mode 0600."""
    _write(path, lambda stream: stream.write(text))


def write(path: Path, document: Mapping[str, Any], comment: str) -> None:
    """Write a whole new file, mode 0600, with a comment on top."""
    _write(path, lambda stream: stream.write(dump(document, comment)))


def dump(document: Mapping[str, Any], comment: str = "") -> str:
    """A document as YAML text."""
    yaml, out = round_trip(), StringIO()
    out.write("".join(f"# {line}\n" for line in comment.splitlines()))
    yaml.dump(dict(document), out)
    return out.getvalue()


def round_trip(text: str = "") -> YAML:
    """What reads and writes with comments, indented as `text` is."""
    yaml = YAML()
    yaml.Constructor = _RoundTrip
    yaml.preserve_quotes = True
    yaml.width = 4096
    yaml.indent(mapping=2, sequence=4, offset=2)
    _keep_columns(yaml, text)
    return yaml


def _load(yaml: YAML, path: Path) -> dict[str, Any]:
    try:
        document = yaml.load(path.read_text("utf-8"))
    except FileNotFoundError:
        raise ConfigError(
            f"There is no {path}. Copy config.example.yaml to it and edit it, "
            "or let ./scripts/quickstart make one."
        ) from None
    except OSError as exc:
        raise ConfigError(f"{path} cannot be read: {exc.strerror}.") from exc
    except UnicodeDecodeError:
        raise ConfigError(f"{path} cannot be read: it is not UTF-8 text.") from None
    # The library's own texts quote lines and values of the file, hence perhaps a token: `from
    # None`, and only the position and the bare reason are told.
    except DuplicateKeyError as exc:
        key = re.match(r'found duplicate key "([^"]*)"', str(exc.problem))
        name = key[1] if key else "a key"
        raise ConfigError(f"{path}, {_line(exc)}: {name} stands there twice.") from None
    except MarkedYAMLError as exc:
        raise ConfigError(f"{path} is not YAML, {_line(exc)}: {exc.problem}.") from None
    except RecursionError:
        raise ConfigError(f"{path} cannot be read: it is nested too deeply.") from None
    except (YAMLError, *_ODD) as exc:
        raise ConfigError(f"{path} is not YAML ({type(exc).__name__}).") from None
    if not isinstance(document, dict):
        raise ConfigError(f"{path} holds no settings: expected sections such as `homeserver:`.")
    return document


def _line(exc: MarkedYAMLError) -> str:
    return f"line {exc.problem_mark.line + 1}" if exc.problem_mark else "somewhere"


def _write(path: Path, fill: Callable[[Any], Any]) -> None:
    """Replace a file as a whole or not at all: a crash leaves the old one or the new one."""
    target = path.resolve()  # through a symbolic link, so that the link survives
    try:
        with tempfile.NamedTemporaryFile(  # mode 0600
            "w", encoding="utf-8", dir=target.parent, prefix=f".{target.name}.", delete=False
        ) as file:
            try:
                fill(file)
                file.flush()
                os.fsync(file.fileno())
                os.replace(file.name, target)
            except BaseException:
                os.unlink(file.name)
                raise
        folder = os.open(target.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as exc:
        raise ConfigError(
            f"{path} cannot be written: {exc.strerror}. Its folder must be writable, "
            "and in a container the folder must be mounted, not the single file."
        ) from exc
