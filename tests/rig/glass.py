"""What stands on a terminal, from what was written to it: as much of one as our programs use."""

import re

_PART = re.compile(
    r"\x1b\[(?P<private>\??)(?P<numbers>[0-9;]*)(?P<verb>[@-~])"
    r"|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\\\)|\x1b[@-Z\\\\^_=>]|[\x00-\x1f]|[^\x00-\x1f]+"
)


class Glass:
    """Endless downwards; nothing is scrolled out of sight."""

    def __init__(self, width: int) -> None:
        self._width = width
        self._lines: list[list[str]] = [[]]
        self._row = self._column = 0

    @property
    def text(self) -> str:
        return "\n".join("".join(line).rstrip() for line in self._lines)

    def write(self, text: str) -> None:
        for part in _PART.finditer(text):
            if part["verb"]:
                if not part["private"]:
                    self._obey(part["verb"], part["numbers"])
            elif part[0] == "\n":
                self._go(self._row + 1, self._column)
            elif part[0] == "\r":
                self._column = 0
            elif part[0] == "\b":
                self._column = max(0, self._column - 1)
            elif part[0][0] >= " ":
                for character in part[0]:
                    self._put(character)

    def _obey(self, verb: str, numbers: str) -> None:
        number = int(numbers.split(";")[0] or 0)
        steps = max(1, number)
        if verb in "AB":
            self._go(self._row + (steps if verb == "B" else -steps), self._column)
        elif verb in "CD":
            self._column = max(0, self._column + (steps if verb == "C" else -steps))
        elif verb == "K" and not number:
            del self._lines[self._row][self._column :]
        elif verb == "J" and not number:
            del self._lines[self._row][self._column :]
            del self._lines[self._row + 1 :]

    def _go(self, row: int, column: int) -> None:
        self._row, self._column = max(0, row), column
        while len(self._lines) <= self._row:
            self._lines.append([])

    def _put(self, character: str) -> None:
        if self._column >= self._width:
            self._go(self._row + 1, 0)
        line = self._lines[self._row]
        line += " " * (self._column + 1 - len(line))
        line[self._column] = character
        self._column += 1
