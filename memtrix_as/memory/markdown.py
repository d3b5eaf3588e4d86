"""What a line of markdown is, as far as texts are cut by it: heading, bullet, or code."""

import re

HEADING = re.compile(r" {0,3}(#{1,6})(?:[ \t](.*))?$")
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
    if not found:
        return None
    title = (found[2] or "").strip()
    bare = title.rstrip("#")  # not in the pattern: with a long run of spaces it took for ever
    return len(found[1]), bare.rstrip() if bare[-1:] in (" ", "\t") else title


def is_bullet(line: str) -> bool:
    """Whether the line begins a bullet that stands under no other."""
    return bool(BULLET.match(line))
