"""Small images and other files, made by hand or by Pillow."""

import io
import struct
import wave
import zlib

from PIL import Image

SVG = b'<?xml version="1.0"?>\n<svg xmlns="http://www.w3.org/2000/svg"><script>x()</script></svg>'
MP3 = (b"\xff\xfb\x90\x64" + bytes(413)) * 3  # MPEG 1, layer III, 128 kbit/s, 44.1 kHz


def image(size: tuple[int, int], kind: str = "PNG", noise: bool = False) -> bytes:
    out = io.BytesIO()
    picture = Image.effect_noise(size, 80) if noise else Image.new("L", size, 128)
    picture.convert("RGB").save(out, kind)
    return out.getvalue()


def bomb(side: int) -> bytes:
    """A PNG of side times side pixels, whole and white, in a few kilobytes."""
    row = zlib.compressobj(9)
    packed = b"".join(row.compress(bytes(1 + side // 8)) for _ in range(side)) + row.flush()
    head = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    chunks = [(b"IHDR", head), (b"IDAT", packed), (b"IEND", b"")]
    made = [
        struct.pack(">I", len(d)) + k + d + struct.pack(">I", zlib.crc32(k + d)) for k, d in chunks
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(made)


def sound() -> bytes:
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes(bytes(1600))
    return out.getvalue()
