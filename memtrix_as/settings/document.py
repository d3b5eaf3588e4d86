"""YAML files: read with plain errors, and changed without losing their comments."""

import os
import re
import tempfile
from collections.abc import Callable, Mapping
from io import StringIO
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.constructor import DuplicateKeyError
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import ScalarEvent
from ruamel.yaml.nodes import ScalarNode
from ruamel.yaml.reader import ReaderError

from memtrix_as.errors import ConfigError

DEEPEST = 50  # sections and lists in each other
MOST = 100_000  # values in a file; a few lines of aliases of aliases make any number of them
# what the library lets out of its conversions, without a line
_MISFIT = (ValueError, LookupError, TypeError, OverflowError, AttributeError)
# more than a character of the file, in a reason of the library's: perhaps of a token
_QUOTED = re.compile(r"""(['"]).{5,}\1|(['"])[^'"]{5,}$""", re.DOTALL)
# of the first line within a section
_INDENT = re.compile(r"^[^\s#][^\n]*:[^\n]*\n(?:\s*#[^\n]*\n)*( +)[^\s#]", re.MULTILINE)


def read(path: Path) -> dict[str, Any]:
    """The file as plain dicts and lists; ConfigError when it is missing or is not YAML."""
    return _load(YAML(typ="safe", pure=True), path)


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
    yaml.preserve_quotes = True
    yaml.width = 4096
    yaml.indent(mapping=2, sequence=4, offset=2)
    _keep_columns(yaml, text)
    return yaml


def _load(yaml: YAML, path: Path) -> dict[str, Any]:
    try:
        text = path.read_text("utf-8")
    except FileNotFoundError:
        raise ConfigError(
            f"There is no {path}. Copy config.example.yaml to it and edit it, "
            "or let ./scripts/quickstart make one."
        ) from None
    except OSError as exc:
        raise ConfigError(f"{path} cannot be read: {exc.strerror}.") from exc
    except UnicodeDecodeError:
        raise ConfigError(f"{path} cannot be read: it is not UTF-8 text.") from None
    try:
        document = _parse(yaml, text, path)
        _measure(document)
    except RecursionError:
        raise ConfigError(
            f"{path} cannot be used: sections or lists stand too deep in each other, or aliases "
            "(`*name`) stand within what they mean, or multiply."
        ) from None
    except _MISFIT:
        raise ConfigError(
            f"{path} cannot be used{_misfit(text)}: a value is not what it looks like: a number "
            "with thousands of digits, a day that there is not, a wrong `!!` tag, or a list as "
            "a key."
        ) from None
    if not isinstance(document, dict):
        raise ConfigError(f"{path} holds no settings: expected sections such as `homeserver:`.")
    return document


def _parse(yaml: YAML, text: str, path: Path) -> object:
    """What the text says. Raises ConfigError, RecursionError, and what stands in _MISFIT."""
    try:
        return yaml.load(text)
    # The library's own texts quote lines and values of the file, hence perhaps a token: `from
    # None`, and only the position and the bare reason are told.
    except DuplicateKeyError as exc:
        key = re.match(r'found duplicate key "([^"]*)"', str(exc.problem))
        name = key[1] if key else "a key"
        raise ConfigError(f"{path}, {_line(exc)}: {name} stands there twice.") from None
    except MarkedYAMLError as exc:
        reason = _QUOTED.sub("…", str(exc.problem).partition(" from ")[0])
        raise ConfigError(f"{path} is not YAML, {_line(exc)}: {reason}.") from None
    except ReaderError as exc:
        line = text.count("\n", 0, exc.position) + 1
        raise ConfigError(
            f"{path} is not YAML, line {line}: there is a character that no text has."
        ) from None
    except YAMLError as exc:
        raise ConfigError(f"{path} is not YAML ({type(exc).__name__}).") from None


def _misfit(text: str) -> str:
    """The line of the first value that cannot be converted by itself."""
    yaml = YAML(typ="safe", pure=True)
    try:
        for event in yaml.parse(text):
            if not isinstance(event, ScalarEvent):
                continue
            try:
                node = ScalarNode(
                    yaml.resolver.resolve(ScalarNode, event.value, event.implicit)
                    if event.ctag is None
                    else event.ctag,
                    event.value,
                )
                yaml.constructor.construct_object(node)
            except _MISFIT:
                return f", line {event.start_mark.line + 1}"
    except (YAMLError, RecursionError, *_MISFIT):  # `"\Uffffffff"`: a character that none is
        pass
    return ""


def _measure(document: object) -> None:
    """RecursionError where a walk through all of it would have no end, or not soon."""
    count = 0

    def walk(node: object, depth: int) -> None:
        nonlocal count
        count += 1
        if count > MOST:
            raise RecursionError
        if isinstance(node, Mapping | list | tuple):
            if depth > DEEPEST:
                raise RecursionError
            for inner in node.values() if isinstance(node, Mapping) else node:
                walk(inner, depth + 1)

    walk(document, 0)


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
