"""A process that reads one image on stdin and writes it smaller: a line of JSON, then the bytes.

Decoders are written in C and the file comes from a stranger; so it gets little memory, little time
and no files. It is run by its path, with the longest side in pixels and the most bytes as its
arguments, and imports nothing of ours. Only the first frame is taken, and none of the metadata: a
photo tells where it was made.
"""

import io
import json
import resource
import sys

from PIL import Image, ImageOps

MOST_READ, MOST_PIXELS = 100_000_000, 64_000_000
FORMATS = ("JPEG", "PNG", "GIF", "WEBP", "BMP")
LIMITS = {
    resource.RLIMIT_AS: 1 << 30,
    resource.RLIMIT_CPU: 10,
    resource.RLIMIT_FSIZE: 0,
    resource.RLIMIT_CORE: 0,
}


def main() -> None:
    for what, most in LIMITS.items():
        resource.setrlimit(what, (most, most))
    max_side, max_bytes = int(sys.argv[1]), int(sys.argv[2])
    Image.MAX_IMAGE_PIXELS = None  # looked at below, where a large JPEG is read smaller at once
    image: Image.Image = Image.open(io.BytesIO(sys.stdin.buffer.read(MOST_READ)), formats=FORMATS)
    flat = image.format == "JPEG"
    turned = image.getexif().get(0x0112, 1) >= 5
    size = image.size[::-1] if turned else image.size
    image.draft("RGB", (max_side, max_side))
    if image.width * image.height > MOST_PIXELS:
        sys.exit(1)
    image = plain(ImageOps.exif_transpose(image))
    image.thumbnail((max_side, max_side), Image.Resampling.LANCZOS)
    image.info = {}
    data, mimetype, (width, height) = written(image, flat, max_bytes)
    head = {"mimetype": mimetype, "width": width, "height": height, "of": size}
    sys.stdout.buffer.write(json.dumps(head).encode() + b"\n" + data)


def plain(image: Image.Image) -> Image.Image:
    """The image in red, green, blue, and alpha where it has that."""
    see_through = "A" in image.getbands() or "transparency" in image.info
    return image.convert("RGBA" if see_through else "RGB")


def written(image: Image.Image, flat: bool, max_bytes: int) -> tuple[bytes, str, tuple[int, int]]:
    """A PNG where that keeps small letters sharp and fits; else a JPEG, as good as fits."""
    if not flat:
        out = io.BytesIO()
        image.save(out, "PNG", optimize=True)
        if out.tell() <= max_bytes:
            return out.getvalue(), "image/png", image.size
    if image.mode == "RGBA":
        white = Image.new("RGB", image.size, "white")
        white.paste(image, mask=image.getchannel("A"))
        image = white
    while True:
        for quality in (88, 75, 60, 40):
            out = io.BytesIO()
            image.save(out, "JPEG", quality=quality)
            if out.tell() <= max_bytes:
                return out.getvalue(), "image/jpeg", image.size
        if max(image.size) < 16:
            sys.exit(1)
        image = image.resize((max(1, image.width * 2 // 3), max(1, image.height * 2 // 3)))


if __name__ == "__main__":
    main()
