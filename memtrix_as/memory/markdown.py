"""What a line of markdown is, as far as texts are cut by it: heading, bullet, or code."""

import re

HEADING = re.compile(r" {0,3}(#{1,6})(?:[ \t]+(.*?))?(?:[ \t]+#+)?[ \t]*$")
BULLET = re.compile(r"(?:[-*+]|\d{1,9}[.)])(?:[ \t]|$)")
# A fence may stand right behind a bullet; a backtick behind it makes it a line with code in it.
_FENCE = re.compile(r" {0,3}(?:(?:[-*+]|\d{1,9}[.)])[ \t]{1,4})?(`{3,}(?!.*`)|~{3,})")


class Fences:
    """Follows a text line by line: is this one code?"""

    def __init__(self) -> None:
        self.open = ""  # the fence that the code began with; empty outside of code

    def code(self, line: str) -> bool:
        """Whether the line belongs to fenced code, its fences included."""
        if not self.open:
            if found := _FENCE.match(line):
                self.open = found[1]
            return bool(found)
        bare = line.strip()
        if bare.startswith(self.open) and not bare.strip(self.open[0]):
            self.open = ""
        return True


def heading(line: str) -> tuple[int, str] | None:
    """Level and title of a heading; the caller knows that the line is not code."""
    found = HEADING.match(line)
    return (len(found[1]), (found[2] or "").strip()) if found else None


def is_bullet(line: str) -> bool:
    """Whether the line begins a bullet that stands under no other."""
    return bool(BULLET.match(line))
