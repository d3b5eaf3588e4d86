"""A process that reads one HTML page: UTF-8 on stdin, JSON on stdout, and then it is gone.

The page comes from a stranger, so its parser gets little memory, little time and no files. It is
run by its path and imports nothing of ours.
"""

import json
import re
import resource
import sys

import lxml.html
import trafilatura

MOST_TEXT, MOST_LINKS = 2_000_000, 300
LIMITS = {
    resource.RLIMIT_AS: 1 << 30,
    resource.RLIMIT_CPU: 10,
    resource.RLIMIT_FSIZE: 0,
    resource.RLIMIT_CORE: 0,
}
HIDDEN = re.compile(
    r"display\s*:\s*none|visibility\s*:\s*hidden|font-size\s*:\s*0|opacity\s*:\s*0(\.0*)?\s*(;|$)"
    r"|text-indent\s*:\s*-\d{3}|(left|top)\s*:\s*-\d{4}",
    re.IGNORECASE,
)


def main() -> None:
    for what, most in LIMITS.items():
        resource.setrlimit(what, (most, most))
    address = sys.argv[1]
    html = sys.stdin.buffer.read().decode("utf-8", errors="replace")
    # bytes, because lxml refuses text that declares an encoding
    parser = lxml.html.HTMLParser(encoding="utf-8", remove_comments=True, recover=True)
    tree = lxml.html.document_fromstring(html.encode() or b"<p>", parser=parser)
    title = " ".join((tree.findtext(".//title") or "").split())[:300]
    strip(tree)
    links = found_links(tree, address)
    text = trafilatura.extract(
        tree, url=address, output_format="markdown", include_tables=True, include_comments=False
    )
    if not text:
        body = tree.find("body")
        lines = (tree if body is None else body).text_content().splitlines()
        text = "\n".join(line for line in (" ".join(li.split()) for li in lines) if line)
    json.dump({"title": title, "text": text[:MOST_TEXT], "links": links}, sys.stdout)


def strip(tree: lxml.html.HtmlElement) -> None:
    """Take out what a reader would not see: there instructions for models are hidden."""
    for element in list(tree.iter()):
        if not isinstance(element.tag, str) or element.getparent() is None:
            continue
        if (
            element.tag in ("script", "style", "noscript", "template", "iframe", "object", "svg")
            or "hidden" in element.attrib
            or element.get("aria-hidden", "").lower() == "true"
            or HIDDEN.search(element.get("style", ""))
        ):
            element.drop_tree()


def found_links(tree: lxml.html.HtmlElement, address: str) -> list[list[str]]:
    """The links of the page, whole, each once: text and address."""
    tree.make_links_absolute(address, resolve_base_href=False, handle_failures="ignore")
    links: dict[str, str] = {}
    for element in tree.iter("a"):
        to = element.get("href", "").partition("#")[0]
        text = " ".join(element.text_content().split())[:120]
        if text and to.startswith(("http://", "https://")) and to not in links:
            links[to] = text
        if len(links) >= MOST_LINKS:
            break
    return [[text, to[:2000]] for to, text in links.items()]


if __name__ == "__main__":
    main()
