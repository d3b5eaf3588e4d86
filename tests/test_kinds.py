"""What kind of file some bytes are."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memtrix_as.documents.kinds import HEAD, UNKNOWN, kind
from tests.rig import pictures


@pytest.mark.parametrize(
    "data, name, mimetype",
    [
        (b"ID3 tags, explained", "a.md", "text/markdown"),
        (b"ID3\x04\0\0\0\0\0\0", "a.md", "audio/mpeg"),
        (pictures.MP3, "a", "audio/mpeg"),
        (b"BZhello", "a", "text/plain"),
        (b"%PDF-1.7 x", "a.png", "application/pdf"),
        (b"PK\x03\x04" + bytes(30), "a.docx", "application/vnd.openxmlformats-officedocument."
         "wordprocessingml.document"),
        (b"PK\x03\x04" + bytes(30), "a.exe", "application/zip"),
        (b"OggS" + bytes(30), "a.txt", "audio/ogg"),
        (b"\x1a\x45\xdf\xa3\x42\x82\x84webm", "a", "video/webm"),
        (b"\0\0\0\x1cftypM4A ", "a", "audio/mp4"),
        (b"\0\0\0\x1cftypavif", "a.mp4", "image/avif"),
        (pictures.SVG, "a.png", "image/svg+xml"),
        (b"\xef\xbb\xbf <SVG>", "a.txt", "image/svg+xml"),
        (b"<!-- x --><svg>", "a.html", "image/svg+xml"),
        (b'{"a": 1}', "a.json", "application/json"),
        (b'{"a": 1}', "a.png", "text/plain"),
        (b"MZ\x90\0\x03", "a.txt", UNKNOWN),
        ("größer".encode("latin-1"), "a.txt", UNKNOWN),
        (("x" * (HEAD - 1) + "ö").encode(), "a.txt", "text/plain"),
        ("x".encode("utf-16"), "a.txt", UNKNOWN),
    ],
)  # fmt: skip
def test_the_bytes_tell_and_a_name_only_chooses_among_their_likes(
    data: bytes, name: str, mimetype: str
) -> None:
    assert kind(data, name) == mimetype


@given(st.binary(max_size=300), st.text(max_size=20))
def test_whatever_it_is_it_gets_a_type(data: bytes, name: str) -> None:
    assert kind(data, name).count("/") == 1


@given(st.text(min_size=1), st.sampled_from(["a.png", "a.mp3", "a.mp4", "a.pdf", "a.zip"]))
def test_no_text_becomes_something_to_be_shown_by_its_name(text: str, name: str) -> None:
    clean = "".join(c for c in text if c.isprintable()).replace("<", "").replace("GIF8", "")
    assert kind(clean.encode(), name) in ("text/plain", "application/pdf")
