"""Markdown to Matrix HTML and back to text: what survives, what never does, and how fast."""

import re
import time
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from memtrix_as.matrix.html import sound, to_html, to_text

ALLOWED = set(
    "del h1 h2 h3 h4 h5 h6 blockquote p a ul ol sup sub li b i u strong em s code hr br div "
    "table thead tbody tr th td caption pre span img details summary".split()
)


@pytest.mark.parametrize(
    ("markdown", "expected"),
    [
        ("**b** *e* ~~s~~ `c<d`",
         "<p><strong>b</strong> <em>e</em> <s>s</s> <code>c&lt;d</code></p>"),
        ("# H\n\ntext", "<h1>H</h1>\n<p>text</p>"),
        ("- a\n- b", "<ul>\n<li>a</li>\n<li>b</li>\n</ul>"),
        ("3. a", '<ol start="3">\n<li>a</li>\n</ol>'),
        ("> *q*", "<blockquote>\n<p><em>q</em></p>\n</blockquote>"),
        ("```python\nx < 1\n```",
         '<pre><code class="language-python">x &lt; 1\n</code></pre>'),
        ("```c++ title=x\n1\n```", '<pre><code class="language-c++">1\n</code></pre>'),
        ("*a*\nb", "<p><em>a</em><br>\nb</p>"),
        ("[m](https://matrix.to/#/@u:s)", '<p><a href="https://matrix.to/#/@u:s">m</a></p>'),
        ("[r](https://matrix.to/#/#r:s)", '<p><a href="https://matrix.to/#/#r:s">r</a></p>'),
        ("[x](mailto:a@b.c)", '<p><a href="mailto:a@b.c">x</a></p>'),
        ("[x](https://a/?b&c)", '<p><a href="https://a/?b&amp;c">x</a></p>'),
    ],
)  # fmt: skip
def test_what_matrix_can_show_is_shown(markdown: str, expected: str) -> None:
    assert to_html(markdown) == expected


def test_a_table_survives() -> None:
    html = to_html("|a|b|\n|-|:-:|\n|1<br>2|`x`|")
    assert html is not None
    assert re.sub(r"\s", "", html) == (
        "<table><thead><tr><th>a</th><th>b</th></tr></thead>"
        "<tbody><tr><td>1<br>2</td><td><code>x</code></td></tr></tbody></table>"
    )


def test_a_cell_too_many_is_not_lost() -> None:
    html = to_html("|a|b|\n|-|-|\n|1|`x|y`|z|\n|2|3|")
    assert html is not None
    assert "<td>1</td>\n<td><code>x | y</code> | z</td>" in html
    assert "<td>2</td>\n<td>3</td>" in html


@pytest.mark.parametrize(
    "plain",
    ["Hello", "two\nlines", "two\n\nparagraphs", "a & b < c > \"d\" 'e'", "5 * 3 * 2", "", "  x  ",
     "<b>raw</b>", "<script>alert(1)</script>", "https://a.example/x_y_z", "😀", "[note]: x",
     "snake_case_name", "a -- b"],
)  # fmt: skip
def test_plain_text_stays_plain(plain: str) -> None:
    assert to_html(plain) is None


@pytest.mark.parametrize("scheme", ["javascript:alert(1)", "data:text/html,x", "JavaScript:x",
                                    "vbscript:x", "file:///etc/passwd", "matrix.html", "//a/b",
                                    "&#106;avascript:x", "java\tscript:x"])  # fmt: skip
@pytest.mark.parametrize("shape", ["[*text*]({})", "![text]({})", "<{}>", "[text](<{}>)"])
def test_other_schemes_leave_their_text(shape: str, scheme: str) -> None:
    html = to_html("*x* " + shape.format(scheme)) or ""
    assert "href" not in html and "src" not in html
    assert "text" in html or shape == "<{}>"


def test_a_remote_image_is_a_link_and_our_own_is_an_image() -> None:
    assert to_html("![cat](https://evil.example/a?leak=1)") == (
        '<p><a href="https://evil.example/a?leak=1">cat</a></p>'
    )
    assert to_html("![](https://a.example/i.png)") == (
        '<p><a href="https://a.example/i.png">https://a.example/i.png</a></p>'
    )
    assert to_html("[![cat](http://a/i.png)](http://b)") == '<p><a href="http://b">cat</a></p>'
    assert to_html("![cat](mxc://s/id)") == '<p><img src="mxc://s/id" alt="cat"></p>'


@pytest.mark.parametrize("deep", [">" * 300 + " deep", "> - " * 60 + "deep", "- " * 150 + "deep",
                                  "*" * 400 + "deep" + "*" * 400])  # fmt: skip
def test_deep_nesting_loses_no_text(deep: str) -> None:
    html = to_html(deep)
    assert html is None or "deep" in html


PIECES = st.sampled_from(
    ["*", "**", "_", "~~", "`", "```", "\n", "\n\n", "> ", "- ", "1. ", "# ", "|", "|-|-|\n", "[",
     "](", ")", "![", "](http://a)", "](javascript:x)", "<", ">", "&", "&lt;", "<img src=x>",
     "<br>", "<!--", "\\", "  ", "    ", "word", "Ä", "👩‍👩‍👧",
     "\u0301", "\0", "\ud83d", "\x01", "\t",
     "mxc://a/b", "https://a.example", "---", "===", "<script>", "\u202e", "\r"]
)  # fmt: skip
MARKDOWN = st.lists(PIECES, max_size=40).map("".join) | st.text()


def depth(html: str) -> int:
    level = deepest = 0
    for close, name in re.findall(r"<(/?)([a-z0-9]+)", html):
        level += -1 if close else name not in ("br", "hr", "img")
        deepest = max(deepest, level)
    assert level == 0
    return deepest


@settings(max_examples=500, deadline=None)
@given(MARKDOWN)
def test_any_markdown_gives_safe_html(markdown: str) -> None:
    html = to_html(markdown)
    if html is None:
        return
    html.encode()
    assert {tag for _, tag in re.findall(r"<(/?)([a-z0-9]+)", html)} <= ALLOWED
    assert depth(html) <= 100
    for name, value in re.findall(r'<[a-z0-9]+[^<>]*? ([a-z-]+)="([^"]*)"', html):
        assert name in {"href", "src", "alt", "title", "class", "start"}
        assert name != "src" or value.startswith("mxc://")
        assert name != "href" or value.startswith(("http://", "https://", "mailto:"))


WORDS = st.lists(st.text("abcdefgh", min_size=1, max_size=6), min_size=1, max_size=12)


@settings(deadline=None)
@given(WORDS, st.lists(st.sampled_from(["> ", "- ", "1. ", "# ", "| ", "*", "\n", "`", "  "])))
def test_no_word_is_lost(words: list[str], marks: list[str]) -> None:
    marks += [" "] * (len(words) - len(marks))
    markdown = "".join(mark + word + " " for mark, word in zip(marks, words, strict=False))
    html = to_html(markdown)
    if html is not None:
        text = re.sub(r"<[^>]*>", " ", html)
        assert [w for w in words if w not in text and f"``` {w}" not in markdown] == []


@pytest.mark.parametrize(
    "nasty",
    ["[", "*a ", "`", "<", "a**", "![[", "|", "> ", "- ", "`a", "``a`", "_a*", "[a](", "<a", "&",
     "\\", "~~a", "<br>", "[x]: ", "![a](b", "x\n", "1) ", "<!--", "a|\n-|\n", "\t", "[](", "<b>"],
)  # fmt: skip
def test_no_text_costs_more_than_its_length_explains(nasty: str) -> None:
    def cost(length: int) -> float:
        started = time.process_time()
        to_html(nasty * (length // len(nasty)))
        to_text({"formatted_body": nasty * (4 * length // len(nasty))})
        return time.process_time() - started

    # Eight times the text: 8 would be linear, 64 quadratic; below 0.1 s all is noise.
    assert cost(16_000) < 32 * max(cost(2_000), 0.1)


def test_what_is_too_long_goes_plain() -> None:
    assert to_html("*a* " * 20_000) is None


def test_what_cannot_be_sent_is_replaced() -> None:
    assert sound("a\0b\ud83dc😀") == "a\ufffdb\ufffdc😀"


# The way in


def content(**more: Any) -> dict[str, Any]:
    return {"msgtype": "m.text", "body": "hello", **more}


REPLY = {"m.relates_to": {"m.in_reply_to": {"event_id": "$e"}}}


@pytest.mark.parametrize(
    ("message", "text"),
    [
        (content(), "hello"),
        (content(body="  a\r\nb "), "a\nb"),
        (content(formatted_body="<b>hello</b>", format="org.matrix.custom.html"), "hello"),
        (content(body="> <@a:s> earlier\n> more\n\nanswer\n> own quote", **REPLY),
         "answer\n> own quote"),
        (content(body="> * <@a:s> waves\n\nanswer", **REPLY), "answer"),
        (content(body="> my own quote\n\ntext", **REPLY), "> my own quote\n\ntext"),
        (content(body="> <@a:s> quoted by hand\n\ntext"), "> <@a:s> quoted by hand\n\ntext"),
        (content(body="[Dennis](https://matrix.to/#/@dennis:s) hi"), "Dennis hi"),
        (content(body="[](https://matrix.to/#/%40dennis%3As) hi"), "@dennis:s hi"),
        (content(body="[x](https://a.example)"), "[x](https://a.example)"),
        (content(body="", formatted_body='<mx-reply><blockquote>q</blockquote></mx-reply>'
                 'hi <a href="https://matrix.to/#/@d:s?via=s">Den &amp; Nis</a><br>2<p>3</p>'),
         "hi Den & Nis\n23"),
        (content(body=None, formatted_body='<a href="https://matrix.to/#/%40d:s"></a>!'), "@d:s!"),
        (content(msgtype="m.emote", body="waves"), "* Anna waves"),
        ({}, ""),
        ([], ""),
        (None, ""),
    ],
)  # fmt: skip
def test_what_a_human_wrote(message: object, text: str) -> None:
    assert to_text(message, "Anna") == text


def test_an_emote_of_nobody_known() -> None:
    assert to_text(content(msgtype="m.emote", body="waves")) == "* the sender waves"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | MARKDOWN,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
CONTENT = JSON | st.fixed_dictionaries(
    {},
    optional={
        "msgtype": JSON | st.sampled_from(["m.text", "m.emote"]),
        "body": JSON,
        "formatted_body": JSON,
        "m.relates_to": JSON | st.just(REPLY["m.relates_to"]),
    },
)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(CONTENT)
def test_no_content_raises(message: object) -> None:
    text = to_text(message)
    text.encode()
    assert "\0" not in text
