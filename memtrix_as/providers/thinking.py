"""Tells what a model thinks from what it says, where both come in one stream of text."""

import re

from memtrix_as.messages import Delta

_IN_TEXT = re.compile(r"</?think(?:ing)?>|\n|`+|~{3,}", re.IGNORECASE)
_IN_THOUGHT = re.compile(r"</think(?:ing)?>", re.IGNORECASE)
_UNFINISHED = re.compile(r"(?:`+|~+|</?[a-z]{0,8})\Z", re.IGNORECASE)
_TAGS = ("<think>", "<thinking>", "</think>", "</thinking>")


class Splitter:
    """Feed it text in pieces of any size; `text` and `reasoning` do not depend on the sizes.

    `<think>` at the start of a line begins a thought, and one that is never closed goes on to the
    end. Within a line the tag may be a mere mention: it is a thought only if it is closed. In code
    (a fence, or backticks on one line) tags are text. A `</think>` without an opening tag, which
    models give whose template opens the thought for them, makes a thought of all before it.
    """

    def __init__(self) -> None:
        self.rewinds = 0  # how often text that had gone out turned out to be a thought
        self._text: list[str] = []
        self._thoughts: list[str] = []
        self._buffer = ""
        self._mode = ""  # "thought", "maybe" (a tag within a line), or text
        self._maybe: list[str] = []
        self._seen = False  # any tag that counted
        self._spoken = False  # any text but blanks
        self._line_start = True
        self._fence = ""
        self._inline = False

    @property
    def text(self) -> str:
        said = "".join(self._text)
        return said.lstrip() if self._seen else said

    @property
    def reasoning(self) -> str:
        return "".join(self._thoughts).strip()

    def feed(self, piece: str) -> Delta:
        """What of the text so far can be told apart, and has not been returned before."""
        self._buffer += piece
        return self._run(final=False)

    def finish(self) -> Delta:
        """The rest; `text` and `reasoning` are whole after this."""
        return self._run(final=True)

    def _run(self, final: bool) -> Delta:
        texts, thoughts, rewinds = len(self._text), len(self._thoughts), self.rewinds
        at, end = 0, len(self._buffer)
        while match := self._next(at):
            token = match[0]
            if token[0] in "`~" and match.end() == end and not final:
                break
            self._emit(self._buffer[at : match.start()])
            self._token(token)
            at = match.end()
        tail = None if final else _UNFINISHED.search(self._buffer, at)
        if tail and tail[0][0] == "<" and not any(t.startswith(tail[0].lower()) for t in _TAGS):
            tail = None
        rest = tail.start() if tail else end
        self._emit(self._buffer[at:rest])
        self._buffer = self._buffer[rest:]
        if final and self._mode == "maybe":
            self._mode = ""
            self._say("".join(self._maybe))
        if self.rewinds != rewinds:
            texts = 0
        return Delta("".join(self._text[texts:]), "".join(self._thoughts[thoughts:]))

    def _next(self, at: int) -> re.Match[str] | None:
        return (_IN_THOUGHT if self._mode else _IN_TEXT).search(self._buffer, at)

    def _emit(self, piece: str) -> None:
        if not piece:
            return
        if self._mode == "thought":
            self._thoughts.append(piece)
        elif self._mode == "maybe":
            self._maybe.append(piece)
        else:
            self._say(piece)

    def _say(self, piece: str) -> None:
        if self._seen and not self._spoken:
            piece = piece.lstrip()  # the empty line after a thought
        if piece.strip():
            self._spoken = True
            self._line_start = False
        if piece:
            self._text.append(piece)

    def _token(self, token: str) -> None:
        if token == "\n":
            self._say(token)
            self._line_start, self._inline = True, False
        elif token[0] in "`~":
            self._code(token)
        elif self._mode:
            if self._mode == "maybe":
                self._thoughts += self._maybe[1:]
            self._seen = True
            self._mode, self._maybe = "", []
        elif self._fence or self._inline:
            self._say(token)
        elif token[1] != "/":
            self._mode = "thought" if self._line_start else "maybe"
            self._seen = self._seen or self._mode == "thought"
            self._maybe = [token]
        elif not self._seen:
            self._thoughts += self._text
            self._text.clear()
            self.rewinds += 1
            self._seen, self._spoken, self._line_start = True, False, True

    def _code(self, run: str) -> None:
        if self._line_start and len(run) >= 3 and not self._fence:
            self._fence = run
        elif self._line_start and self._fence and run.startswith(self._fence):
            self._fence = ""
        elif not self._fence and run[0] == "`":
            self._inline = not self._inline
        self._say(run)
