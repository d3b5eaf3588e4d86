"""A picture for an agent: a pattern and a colour of its own, made from its user id."""

import colorsys
import hashlib
import io

from PIL import Image, ImageDraw

SIDE = 256  # pixels
CELLS = 5  # of the pattern, each way; the right half mirrors the left
MARGIN = 38  # pixels: clients cut pictures round


def draw(user_id: str) -> bytes:
    """A PNG, always the same for a user id."""
    digest = hashlib.sha256(user_id.encode("utf-8", "replace")).digest()
    hue = int.from_bytes(digest[:2], "big") / 65536
    picture = Image.new("RGB", (SIDE, SIDE), _colour(hue, 0.93, 0.55))
    pen = ImageDraw.Draw(picture)
    size = (SIDE - 2 * MARGIN) / CELLS
    ink = _colour((hue + digest[2] / 1024) % 1, 0.36, 0.6)
    half = (CELLS + 1) // 2
    for number in range(half * CELLS):
        row, column = divmod(number, half)
        if digest[3 + number] % 2:
            for at in {column, CELLS - 1 - column}:
                left, top = MARGIN + at * size, MARGIN + row * size
                pen.rectangle((left, top, left + size, top + size), fill=ink)
    with io.BytesIO() as file:
        picture.save(file, "PNG", optimize=True)
        return file.getvalue()


def _colour(hue: float, lightness: float, saturation: float) -> tuple[int, int, int]:
    red, green, blue = colorsys.hls_to_rgb(hue, lightness, saturation)
    return round(red * 255), round(green * 255), round(blue * 255)
