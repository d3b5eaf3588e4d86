"""Markdown to the HTML that Matrix allows, and a human's message to text for the model."""

import html
import re
from functools import lru_cache

import nh3
from markdown_it import MarkdownIt
from markdown_it.rules_block.table import escapedSplit
from markdown_it.rules_core import StateCore
from markdown_it.token import Token

# Client-server API, m.room.message, "m.room.message msgtypes": tags and attributes to support.
_TAGS = set(
    "del h1 h2 h3 h4 h5 h6 blockquote p a ul ol sup sub li b i u strong em s code hr br div "
    "table thead tbody tr th td caption pre span img details summary".split()
)
_ATTRIBUTES = {
    "a": {"href", "target"},
    "img": {"width", "height", "alt", "title", "src"},
    "ol": {"start"},
    "code": {"class"},
}
_SCHEMES = {"https", "http", "ftp", "mailto", "magnet"}
_DEEPEST = 90  # the specification lets clients cut below 100
_NESTING = 20  # of quotes and lists
_LONGEST = 32 * 1024  # bytes; some inputs take a time that grows with the square of their size

_BREAK = re.compile(r"<br\s*/?>", re.IGNORECASE)
_TAG = re.compile(r"<(/?)([a-z][a-z0-9-]*)[^>]*?>")
_UNSOUND = re.compile("[\0\ud800-\udfff]")
_PILL = re.compile(r"\[([^\[\]]{0,200})\]\(<?https://matrix\.to/#/((?:@|%40)[^()\s<>]{1,300})>?\)")
_ANCHOR = re.compile(r'<a href="https://matrix\.to/#/((?:@|%40)[^"]*)">(.*?)</a>', re.DOTALL)


def sound(text: str) -> str:
    """The text without what neither UTF-8 nor PostgreSQL can hold: lone surrogates and NUL.

    A model that is cut in the middle of an emoji sends the former.
    """
    return _UNSOUND.sub("\ufffd", text)


@lru_cache(maxsize=32)  # the splitter measures each part, and then it is built
def to_html(markdown: str) -> str | None:
    """Sanitised HTML; None where it would say nothing that the plain text does not say."""
    markdown = sound(markdown)
    if len(markdown.encode()) > _LONGEST:
        return None
    tokens = _MARKDOWN.parse(markdown)
    if any(token.level >= _NESTING for token in tokens):
        return None  # the parser leaves out what is nested deeper
    result = nh3.clean(
        _MARKDOWN.renderer.render(tokens, _MARKDOWN.options, {}),
        tags=_TAGS,
        attributes=_ATTRIBUTES,
        attribute_filter=_attribute,
        url_schemes=_SCHEMES | {"mxc"},
        link_rel=None,
    ).strip()
    useless = _says_nothing(result) or _says_no_more(result, markdown)
    return None if useless or _depth(result) > _DEEPEST else result


def to_text(content: object, sender: str = "") -> str:
    """What a human wrote, from the content of an m.room.message; never raises.

    The plain body is preferred: clients put names where pills are. `sender` is the name for
    an emote ("* Anna waves").
    """
    if not isinstance(content, dict):
        return ""
    body, formatted = content.get("body"), content.get("formatted_body")
    text = body if isinstance(body, str) else ""
    if not text.strip() and isinstance(formatted, str):
        text = _plain(formatted[:_LONGEST])
    text = sound(text).replace("\r\n", "\n")
    if _is_reply(content):
        text = _without_fallback(text)
    text = _PILL.sub(lambda pill: pill[1].strip() or _user(pill[2]), text).strip()
    if content.get("msgtype") == "m.emote" and text:
        text = f"* {sender or 'the sender'} {text}"
    return text


def _is_reply(content: dict[object, object]) -> bool:
    relation = content.get("m.relates_to")
    return isinstance(relation, dict) and isinstance(relation.get("m.in_reply_to"), dict)


def _without_fallback(text: str) -> str:
    """Drop the quote that older clients put before a reply; a quote of the human's own stays."""
    lines = text.split("\n")
    if not re.match(r"> (?:\* )?<@[^>\s]+>", lines[0]):
        return text
    while lines and lines[0].startswith(">"):
        del lines[0]
    return "\n".join(lines)


def _plain(formatted: str) -> str:
    """Text of a stranger's HTML. The sanitiser parses it as browsers do; the rest is easy."""
    clean = nh3.clean(
        sound(formatted),
        tags={"a", "br", "p", "div", "li", "tr", "h1", "h2", "h3", "h4", "h5", "h6", "pre"},
        clean_content_tags={"mx-reply", "script", "style"},
        attributes={"a": {"href"}},
        link_rel=None,
    )
    clean = _ANCHOR.sub(lambda a: a[2] if a[2].strip() else html.escape(_user(a[1])), clean)
    clean = re.sub(r"<br>|</(?:p|div|li|tr|h\d|pre)>", "\n", clean)
    return html.unescape(_TAG.sub("", clean))


def _user(link: str) -> str:
    return html.unescape(link).split("?")[0].replace("%40", "@").replace("%3A", ":")


def _attribute(tag: str, name: str, value: str) -> str | None:
    if tag == "code":
        return " ".join(c for c in value.split() if c.startswith("language-")) or None
    if tag == "img" and name == "src":
        return value if value.startswith("mxc://") else None
    if tag == "a" and name == "href":
        return None if value.startswith("mxc:") else value
    return value


def _depth(text: str) -> int:
    depth = deepest = 0
    for tag in _TAG.finditer(text):
        if tag[1]:
            depth -= 1
        elif tag[2] not in ("br", "hr", "img"):
            depth += 1
            deepest = max(deepest, depth)
    return deepest


def _says_nothing(result: str) -> bool:
    """Such as a link around no text."""
    shown = {tag[2] for tag in _TAG.finditer(result)} & {"img", "hr"}
    return not shown and not html.unescape(_TAG.sub("", result)).strip()


def _says_no_more(result: str, markdown: str) -> bool:
    if {tag[2] for tag in _TAG.finditer(result)} - {"p", "br"}:
        return False
    return html.unescape(_TAG.sub("", result)).split() == markdown.split()


def _keep_cells(state: StateCore) -> None:
    """Put cells beyond the last column into that one: the parser leaves them out.

    Models forget to escape the `|` in a cell, and the rest of the row would vanish.
    """
    lines, columns = state.src.split("\n"), 0
    row: list[str] = []
    cell = 0
    for token in state.tokens:
        if token.type == "table_open":
            columns = 0
        elif token.type == "th_open":
            columns += 1
        elif token.type == "tr_open" and token.map:
            row, cell = _cells(lines[token.map[0]]), 0
        elif token.type == "td_open":
            cell += 1
        elif token.type == "inline" and cell == columns and len(row) > columns > 0:
            token.content = " | ".join([token.content, *(text.strip() for text in row[columns:])])
            row = []


def _cells(line: str) -> list[str]:
    cells = escapedSplit(line.strip().lstrip("> "))
    return cells[not cells[0].strip() : len(cells) - (not cells[-1].strip())]


def _tame(state: StateCore) -> None:
    """Make harmless links of remote images, text of other links, and line breaks of `<br>`."""
    for block in state.tokens:
        if block.type == "inline" and block.children:
            block.children = _tamed(block.children)


def _tamed(tokens: list[Token]) -> list[Token]:
    result: list[Token] = []
    links: list[bool] = []  # for each link that is open here, whether it is kept
    for token in tokens:
        if token.type == "link_open":
            links.append(_allowed(str(token.attrs.get("href", ""))))
            result += [token] if links[-1] else []
        elif token.type == "link_close":
            result += [token] if links.pop() else []
        elif token.type == "image":
            result += _image(token, inside=any(links))
        elif token.type == "text" and _BREAK.search(token.content):
            result += _broken(token.content)
        else:
            result.append(token)
    return result


def _image(token: Token, inside: bool) -> list[Token]:
    """An image that is loaded tells its server who reads, and when: only our own may be one."""
    source = str(token.attrs.get("src", ""))
    if source.startswith("mxc://"):
        return [token]
    text = _text(token.content or source)
    if inside or not _allowed(source):
        return [text]
    return [
        Token("link_open", "a", 1, attrs={"href": source}),
        text,
        Token("link_close", "a", -1),
    ]


def _broken(text: str) -> list[Token]:
    first, *others = _BREAK.split(text)
    result = [_text(first)]
    for piece in others:
        result += [Token("hardbreak", "br", 0), _text(piece)]
    return result


def _text(content: str) -> Token:
    return Token("text", "", 0, content=content)


def _allowed(address: str) -> bool:
    return address.partition(":")[0].lower() in _SCHEMES and ":" in address


def _markdown() -> MarkdownIt:
    markdown = MarkdownIt("commonmark", {"html": False, "breaks": True, "maxNesting": _NESTING})
    markdown.enable(["table", "strikethrough"])
    # All links are taken as such, so that `_tame` leaves their text and not their source.
    markdown.validateLink = lambda url: True  # type: ignore[method-assign]
    # Definitions ("[note]: text") are not shown; and a part of a split answer may lack them.
    markdown.disable("reference")
    markdown.core.ruler.before("inline", "keep_cells", _keep_cells)
    markdown.core.ruler.push("tame", _tame)
    return markdown


_MARKDOWN = _markdown()
