"""Images of strangers are made small and plain, or refused."""

import io
import struct
import zlib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from memtrix_as.documents.images import Images
from memtrix_as.errors import ToolError


def image(size: tuple[int, int], kind: str = "PNG", mode: str = "RGB", **how: object) -> bytes:
    out = io.BytesIO()
    Image.effect_noise(size, 80).convert(mode).save(out, kind, **how)
    return out.getvalue()


async def test_a_large_photo_becomes_small_upright_and_tells_nothing(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by a quarter
    exif[0x010E] = "SECRET PLACE"
    path = tmp_path / "photo.jpg"
    path.write_bytes(image((1600, 800), "JPEG", exif=exif))
    with path.open("rb") as file:
        small = await Images().scaled(file.fileno(), 400, 100_000)
    assert (small.width, small.height, small.of) == (200, 400, (800, 1600))
    assert small.mimetype == "image/jpeg" and b"SECRET" not in small.data
    assert Image.open(io.BytesIO(small.data)).size == (200, 400)


@pytest.mark.parametrize("kind", ["PNG", "GIF", "WEBP", "BMP"])
async def test_other_kinds_become_png_or_jpeg(kind: str) -> None:
    small = await Images().scaled(image((60, 40), kind), 400, 1_000_000)
    assert small.mimetype == "image/png" and (small.width, small.height) == (60, 40)


async def test_what_is_too_many_bytes_is_made_smaller_still() -> None:
    small = await Images().scaled(image((900, 900), mode="RGBA"), 900, 20_000)
    assert small.mimetype == "image/jpeg" and len(small.data) <= 20_000
    assert Image.open(io.BytesIO(small.data)).size == (small.width, small.height)


def bomb(side: int) -> bytes:
    """A PNG that says it has side times side pixels, and has a few rows of them."""
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)),
              (b"IDAT", zlib.compress(bytes(10_000_000))), (b"IEND", b"")]  # fmt: skip
    made = [struct.pack(">I", len(d)) + k + d + struct.pack(">I", zlib.crc32(k + d))
            for k, d in chunks]  # fmt: skip
    return b"\x89PNG\r\n\x1a\n" + b"".join(made)


@pytest.mark.parametrize(
    "data", [b"", b"no image", bomb(60_000), bomb(5_000), b"<svg/>", image((9, 9))[:60]]
)
async def test_bombs_and_broken_ones_are_refused(data: bytes) -> None:
    with pytest.raises(ToolError, match="damaged or too large"):
        await Images().scaled(data, 400, 100_000)


@settings(max_examples=5)
@given(st.binary(max_size=400))
async def test_no_bytes_break_it(data: bytes) -> None:
    try:
        await Images().scaled(image((20, 20), "JPEG")[:200] + data, 400, 100_000)
    except ToolError:
        pass
