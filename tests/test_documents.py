"""Documents that a stranger made in order to hurt the reader."""

import asyncio
import time

import pytest

from memtrix_as.documents import child, encodings, paging
from memtrix_as.documents.extract import Documents
from memtrix_as.errors import ToolError
from tests.rig.papers import bomb, pdf

DOCUMENTS = Documents()


async def test_a_pdf_that_unpacks_to_gigabytes_is_stopped() -> None:
    begun = time.monotonic()
    with pytest.raises(ToolError):
        await DOCUMENTS.pdf(bomb(700_000_000))
    assert time.monotonic() - begun < 25


async def test_a_pdf_of_many_pages_is_read_to_its_bound() -> None:
    text = await DOCUMENTS.pdf(pdf(*["page"] * 2010))
    assert "[page 2000]\npage\n\n(10 more pages were not read)" in text


@pytest.mark.parametrize("data", [b"%PDF-1.7", b"%PDF-1.4\n%%EOF", b"%PDF-" + bytes(9999)])
async def test_what_only_begins_like_a_pdf_is_damaged(data: bytes) -> None:
    with pytest.raises(ToolError, match="damaged"):
        await DOCUMENTS.pdf(data)


async def test_a_reader_that_takes_too_long_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(child, "TIME", 0.01)
    with pytest.raises(ToolError, match="too long"):
        await DOCUMENTS.html("<p>hello", "http://x.test/")


async def test_a_reader_ends_with_the_turn_that_wanted_it() -> None:
    task = asyncio.create_task(DOCUMENTS.pdf(bomb(300_000_000)))
    await asyncio.sleep(0.3)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


def test_text_that_was_cut_within_a_character_is_still_text() -> None:
    assert encodings.decode("größer".encode()[:4]) == "grö"
    assert encodings.decode("grö".encode()[:3]) == "gr"


def test_a_claim_is_believed_less_than_the_text_itself() -> None:
    assert encodings.decode("größer".encode(), "iso-8859-1") == "größer"
    assert encodings.decode("größer".encode("iso-8859-1"), "iso-8859-1") == "größer"
    for odd in ("no-such", "base64", "rot13", "idna", "punycode", "unicode_escape", "utf-7", "\0"):
        assert encodings.decode(b"plain \xe4", odd) is not None


def test_pages_of_a_text_fit_together() -> None:
    text = "abc" * 100
    pieces = [paging.page(text, at, 70).split("\n\n(")[0] for at in range(0, 300, 70)]
    assert "".join(pieces) == text
    assert paging.page("", 0, 10) == "(empty)" and paging.page("abc", 0, 3) == "abc"
