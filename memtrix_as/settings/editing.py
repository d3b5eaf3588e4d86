"""A commented YAML text changed in place: what is said beside a key outlives its value."""

from collections.abc import Collection, Mapping
from io import StringIO
from typing import Any

from ruamel.yaml.comments import CommentedMap
from ruamel.yaml.tokens import CommentToken

from memtrix_as.settings import document

AFTER = 2  # where ruamel keeps what follows a value, comments up to the next key included


def merged(
    text: str, changes: Mapping[str, Any], whole: Collection[str] = (), *, exact: bool = False
) -> str:
    """`text` with the changes put in; a section in `whole` ends with just the keys given for it.

    `exact`: so does all of it.
    """
    yaml = document.round_trip(text)
    node = yaml.load(text)
    _merge(node, changes, whole, exact)
    out = StringIO()
    yaml.dump(node, out)
    return out.getvalue()


def _merge(
    node: CommentedMap, changes: Mapping[str, Any], whole: Collection[str], exact: bool
) -> None:
    tail = _take(node)  # what stands after the last line still does so afterwards
    for key in [key for key in node if exact and key not in changes]:
        del node[key]
    for key, value in changes.items():
        old = node.get(key)
        if isinstance(value, Mapping) and isinstance(old, CommentedMap) and old:
            _merge(old, value, (), exact or key in whole)
        elif old != value or key not in node:
            node[key] = _commented(value)
    if tail is not None and node:
        last, key = _last(node)
        last.ca.items.setdefault(key, [None, None, None, None])[AFTER] = tail


def _commented(value: Any) -> Any:
    """With mappings that can hold comments."""
    if isinstance(value, Mapping):
        return CommentedMap((key, _commented(inner)) for key, inner in value.items())
    return value


def _last(node: CommentedMap) -> tuple[CommentedMap, Any]:
    key = list(node)[-1]
    inner = node[key]
    return _last(inner) if isinstance(inner, CommentedMap) and inner else (node, key)


def _take(node: CommentedMap) -> CommentToken | None:
    if not node:
        return None
    last, key = _last(node)
    comments = last.ca.items.get(key)
    tail = comments[AFTER] if comments else None
    if not isinstance(tail, CommentToken):
        return None
    comments[AFTER] = None
    return tail
