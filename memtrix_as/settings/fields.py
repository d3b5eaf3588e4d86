"""Turns the nodes of a YAML file into dataclasses by their type hints, collecting what is wrong."""

import dataclasses
import difflib
import math
import re
import types
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Union, get_args, get_origin, get_type_hints
from zoneinfo import ZoneInfo

NO_SECRETS = {"embedded", "generate me"}  # what may stand where a secret belongs
BROKEN: Final = object()  # stands for a value that was refused; the problem has been noted
SECRET: Final = object()  # Annotated[str, SECRET]: never shown, and redacted wherever it turns up
REST: Final = object()  # Annotated[Mapping, REST]: takes the keys that no other field has

_HALF = re.compile("[\ud800-\udfff]")  # YAML can write it, and no file or server takes it
_SUSPICIOUS = ("key", "token", "secret", "password")


class Reader:
    """Reads one file; `problems` holds a line for each thing that is wrong."""

    def __init__(
        self, folder: Path, secret: Callable[[str], str], learn: Callable[[str], None]
    ) -> None:
        """`secret` gives the value of a `$name` or raises LookupError; `learn` is told secrets."""
        self.folder = folder
        self.problems: list[str] = []
        self._secret = secret
        self._learn = learn

    def section(self, kind: type[Any], node: object, key: str = "") -> Any:
        """An instance of the dataclass `kind`, or BROKEN."""
        if not isinstance(node, Mapping):
            return self._wrong(key or "the file", node, "a section with keys")
        hints = get_type_hints(kind, include_extras=True)
        rest = next((name for name, hint in hints.items() if REST in get_args(hint)), None)
        taken = {name for name in hints if name != rest}
        strangers = [name for name in node if name not in taken]
        values: dict[str, Any] = {}
        if rest:
            options = {name: node[name] for name in strangers}
            values[rest] = self.value(hints[rest], options, key)
        else:
            self._refuse_unknown(strangers, taken, key)
        for field in dataclasses.fields(kind):
            at = f"{key}.{field.name}" if key else field.name
            required = field.default is field.default_factory is dataclasses.MISSING
            if field.name in values:
                continue
            elif node.get(field.name) is not None or (field.name in node and required):
                values[field.name] = self.value(hints[field.name], node[field.name], at)
            elif field.name in node and not _optional(hints[field.name]):
                values[field.name] = self._wrong(at, None, "a value; or take the line out")
            elif required:
                self.problems.append(f"{at}: is missing")
                values[field.name] = BROKEN
            elif isinstance(field.default, Path):
                values[field.name] = self.path(str(field.default))
        return BROKEN if any(v is BROKEN for v in values.values()) else kind(**values)

    def value(self, hint: Any, node: object, key: str) -> Any:
        """What `hint` asks for, made of `node`; BROKEN when it cannot be."""
        marks: tuple[Any, ...] = ()
        if isinstance(node, str) and _HALF.search(node):
            self.problems.append(f"{key}: has half a character (a surrogate), which is no text")
            return BROKEN
        if get_origin(hint) is Annotated:
            hint, *extra = get_args(hint)
            marks = tuple(extra)
        hidden = SECRET in marks
        if isinstance(node, str) and node.startswith("$"):
            hidden = True
            try:
                node = self._secret(node[1:])
            except LookupError as exc:
                self.problems.append(f"{key}: {exc.args[0]}")
                return BROKEN
        if hidden and isinstance(node, str) and node not in NO_SECRETS:
            self._learn(node)
        result = self._convert(hint, node, key, hidden)
        for check in marks:
            if result is BROKEN or not callable(check):
                continue
            try:
                result = check(result)
            except ValueError as exc:
                found = "a secret" if hidden else shown(node)
                self.problems.append(f"{key}: {str(exc).replace('{found}', found)}")
                return BROKEN
        return result

    def path(self, text: str) -> Path:
        """Relative paths count from the folder of the configuration file."""
        return (self.folder / Path(text).expanduser()).absolute()

    def folder_of(self, key: str, text: str) -> Path:
        """The same, with a problem noted when it begins with ~somebody who is not known here."""
        try:
            return self.path(text)
        except RuntimeError:
            self.problems.append(f"{key}: nobody is known here whose home that could be")
            return self.folder

    def _convert(self, hint: Any, node: object, key: str, hidden: bool) -> Any:
        origin, args = get_origin(hint), get_args(hint)
        if hint is Any:
            return self._plain(node, key)
        if origin in (Union, types.UnionType):
            return None if node is None else self.value(args[0], node, key)
        if origin is Literal:
            wanted = "one of: " + ", ".join(args)
            return node if node in args else self._wrong(key, node, wanted, hidden)
        if dataclasses.is_dataclass(hint) and isinstance(hint, type):
            return self.section(hint, node, key)
        if origin is tuple:
            return self._list(args[0], node, key)
        if isinstance(origin, type) and issubclass(origin, Mapping):
            return self._mapping(args, node, key)
        return self._scalar(hint, node, key, hidden)

    def _scalar(self, hint: Any, node: object, key: str, hidden: bool) -> Any:
        number = isinstance(node, int | float) and not isinstance(node, bool)
        if hint is str and isinstance(node, str):
            return node
        if hint is bool and isinstance(node, bool):
            return node
        if hint is int and number and isinstance(node, int):
            return node
        if hint is float and isinstance(node, int | float) and number and abs(node) < math.inf:
            try:
                return float(node)
            except OverflowError:
                pass
        if hint is Path and isinstance(node, str) and node.strip() and "\0" not in node:
            try:
                return self.path(node)
            except RuntimeError:  # `~name` of nobody
                pass
        if hint is ZoneInfo and isinstance(node, str):
            try:
                return ZoneInfo(node)
            except (KeyError, ValueError, OSError):
                pass
        wanted = {
            str: "text" + (", in quotes" if number or isinstance(node, bool) else ""),
            bool: "true or false",
            int: "a whole number",
            float: "a number",
            Path: "the path of a folder",
            ZoneInfo: "a time zone such as Europe/Berlin",
        }[hint]
        return self._wrong(key, node, wanted, hidden)

    def _list(self, hint: Any, node: object, key: str) -> Any:
        if not isinstance(node, list):
            return self._wrong(key, node, "a list")
        items = [self.value(hint, item, f"{key}[{n}]") for n, item in enumerate(node)]
        return BROKEN if any(item is BROKEN for item in items) else tuple(items)

    def _mapping(self, args: tuple[Any, ...], node: object, key: str) -> Any:
        if not isinstance(node, Mapping):
            return self._wrong(key, node, "a section with keys")
        result: dict[str, Any] = {}
        for name, item in node.items():
            at = f"{key}.{name}" if key else str(name)
            if not isinstance(name, str) or self.value(args[0], name, at) is BROKEN:
                if not isinstance(name, str):
                    self.problems.append(f"{at}: expected a name, in quotes if it is a number")
                result[str(name)] = BROKEN
                continue
            result[name] = self.value(args[1], item, at)
            if isinstance(result[name], str) and any(word in name for word in _SUSPICIOUS):
                self._learn(result[name])
        return BROKEN if any(item is BROKEN for item in result.values()) else result

    def _plain(self, node: object, key: str) -> Any:
        if isinstance(node, Mapping):
            return self._mapping((str, Any), node, key)
        if isinstance(node, list):
            return self._list(Any, node, key)
        return node

    def _refuse_unknown(self, names: Iterable[object], known: set[str], key: str) -> None:
        for name in names:
            near = difflib.get_close_matches(str(name).replace("-", "_"), sorted(known), 1, 0.6)
            hint = f"; did you mean {near[0]}?" if near else f"; known here: {_list_of(known)}"
            at = f"{key}.{name}" if key else str(name)
            self.problems.append(f"{at}: there is no such key{hint}")

    def _wrong(self, key: str, node: object, wanted: str, hidden: bool = False) -> Any:
        found = "a secret that is something else" if hidden else shown(node)
        self.problems.append(f"{key}: found {found}, expected {wanted}")
        return BROKEN


def _optional(hint: Any) -> bool:
    """Whether an empty value may stand for the default: `X | None`, and whole sections."""
    bare = get_args(hint)[0] if get_origin(hint) is Annotated else hint
    if get_origin(bare) in (Union, types.UnionType):
        return True
    return dataclasses.is_dataclass(bare) or get_origin(bare) is not None


def shown(node: object) -> str:
    """A value as an error may show it."""
    if node is None:
        return "nothing"
    if isinstance(node, bool):
        return "true" if node else "false"
    if isinstance(node, Mapping):
        return "a section with keys"
    if isinstance(node, list):
        return "a list"
    if isinstance(node, str):
        return f'"{node if len(node) <= 60 else node[:57] + "..."}"'
    if isinstance(node, int) and abs(node) >= 10**60:
        return "a number of more than 60 digits"
    return (
        f"{str(node)[:60]} (a {'number' if isinstance(node, int | float) else type(node).__name__})"
    )


def _list_of(names: set[str]) -> str:
    return ", ".join(sorted(names))
