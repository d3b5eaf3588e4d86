"""A process that reads one PDF: its bytes on stdin, JSON on stdout, and then it is gone.

PDFium is fast and written in C++, and the file comes from a stranger; so it gets little memory,
little time and no files. It is run by its path and imports nothing of ours.
"""

import json
import resource
import sys

import pypdfium2

MOST_TEXT, MOST_PAGES = 2_000_000, 2_000
LIMITS = {
    resource.RLIMIT_AS: 1 << 30,
    resource.RLIMIT_CPU: 10,
    resource.RLIMIT_FSIZE: 0,
    resource.RLIMIT_CORE: 0,
}


def main() -> None:
    for what, most in LIMITS.items():
        resource.setrlimit(what, (most, most))
    try:
        document = pypdfium2.PdfDocument(sys.stdin.buffer.read())
    except pypdfium2.PdfiumError as exc:
        locked = "password" in str(exc).lower()
        json.dump({"problem": "is locked by a password" if locked else "is damaged"}, sys.stdout)
        return
    pages: list[str] = []
    size = 0
    for number in range(min(len(document), MOST_PAGES)):
        text = document[number].get_textpage().get_text_bounded().replace("\r\n", "\n").strip()
        size += len(text)
        if size > MOST_TEXT:
            break
        pages.append(f"[page {number + 1}]\n{text}" if text else "")
    whole = "\n\n".join(page for page in pages if page)
    json.dump({"text": whole, "pages": len(document), "read": len(pages)}, sys.stdout)


if __name__ == "__main__":
    main()
