"""How much an agent's workspace may hold: counted now and then, and charged in between."""

import contextlib
import os
import stat
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from memtrix_as.errors import ToolError, WorkspaceFull

PARTIAL = ".memtrix-"  # how the name of an unfinished file begins
BLOCK = 4096  # bytes: the least that a file takes, and what a folder counts as
FRESH = 10.0  # seconds that a count is good for at least
SHARE = 50  # and at least so many times what it took, so that counting takes 2% of the time
TRIES = 3  # counts before a refusal, while others finish files
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


def weight(size: int) -> int:
    """The room that a file of so many bytes takes: whole blocks, one at least."""
    return max(BLOCK, -(-size // BLOCK) * BLOCK)


def walk(at: int) -> Iterator[os.stat_result]:
    """All that lies below an open folder, without what is unfinished; no link is followed."""
    for _, folders, names, fd in os.fwalk(".", dir_fd=at, follow_symlinks=False):
        folders[:] = [name for name in folders if not name.startswith(PARTIAL)]
        for name in (*folders, *names):
            if name.startswith(PARTIAL):
                continue
            with contextlib.suppress(OSError):
                yield os.stat(name, dir_fd=fd, follow_symlinks=False)


class Quota:
    """What one workspace holds and may hold, for all threads of this process.

    A walk through the folder for each write would be too dear. So a count is kept and what is
    written is charged to it; it is made anew when it is old, and before anything is refused: a
    human may have deleted files. Errors of the estimate are always upwards, but for what other
    processes write while it is fresh. What is being written is in no count, but claimed.
    """

    def __init__(self, root: Path | None, most: int) -> None:
        """`most`: bytes; 0 for no limit."""
        self._root, self.most = root, most
        self._lock = threading.Lock()  # for a moment only: the event loop takes it as well
        self._counting = threading.Lock()
        self._counted = 0
        self._began, self._until = float("-inf"), float("-inf")
        self._claimed = 0  # by what is being written
        self._settled = 0  # what was ever written and kept

    def used(self) -> int:
        """Bytes of room that are taken, counted just now."""
        self._count()
        return self._counted

    @contextlib.contextmanager
    def claim(self, replaced: os.stat_result | None = None) -> Iterator["Claim"]:
        """Room for what is being written; given back at the end unless it was kept.

        `replaced` is the file that goes when this one comes.
        """
        credit = weight(replaced.st_size) if replaced else 0
        claim = Claim(self, credit)
        try:
            yield claim
        finally:
            self._end(claim, kept=False)

    def _take(self, claim: "Claim", size: int) -> None:
        if not self.most:
            return
        if time.monotonic() > self._until:
            self._count()
        if self._fits(claim, size):
            return
        for _ in range(TRIES):
            exact = self._count()
            if self._fits(claim, size):
                return
            if exact:
                break
        raise WorkspaceFull(self._counted + self._claimed - claim.charged, self.most)

    def _fits(self, claim: "Claim", size: int) -> bool:
        with self._lock:
            claim.check()
            wanted = max(0, weight(size) - claim.credit)
            others = self._counted + self._claimed - claim.charged
            if wanted > claim.charged and others + wanted > self.most:
                return False
            self._claimed += wanted - claim.charged
            claim.charged = wanted
        return True

    def _rest(self, claim: "Claim", most: int) -> int:
        if not self.most:
            return most
        self._count()
        with self._lock:
            claim.check()
            free = self.most - self._counted - self._claimed
            claim.charged += (taken := max(0, min(most, free)))
            self._claimed += taken
        return taken

    def _end(self, claim: "Claim", *, kept: bool) -> None:
        with self._lock:
            if not claim.over:
                claim.over = True
                self._claimed -= claim.charged
                if kept:
                    self._counted += claim.charged
                    self._settled += claim.charged

    def _count(self) -> bool:
        """Count anew; False if something was written meanwhile, so that it may be too much."""
        asked = time.monotonic()
        with self._counting:
            if self._began > asked:
                return False  # another thread has just done it
            began, before = time.monotonic(), self._settled
            counted = self._walk()
            with self._lock:
                meanwhile = self._settled - before
                self._counted = counted + meanwhile
                self._began, now = began, time.monotonic()
                self._until = now + max(FRESH, SHARE * (now - began))
        return not meanwhile

    def _walk(self) -> int:
        if self._root is None:
            return 0
        try:
            at = os.open(self._root, _FOLDER)
        except OSError:
            return 0  # it is not there yet
        try:
            return sum(map(_weight, walk(at)))
        finally:
            os.close(at)


@dataclass(slots=True)
class Claim:
    """The room of one thing that is being written. Taking some may count: do it in a thread."""

    quota: Quota
    credit: int  # bytes of what is replaced
    size: int = 0  # bytes so far
    charged: int = field(default=0, repr=False)
    over: bool = False

    def grow(self, more: int) -> None:
        """Take room for so many bytes more, or raise WorkspaceFull."""
        self.quota._take(self, self.size + more)
        self.size += more

    def rest(self, most: int) -> int:
        """Take all the room that is left, up to `most` bytes, and tell how much it is."""
        return self.quota._rest(self, most)

    def keep(self) -> None:
        """What was written has its name now."""
        self.quota._end(self, kept=True)

    def check(self) -> None:
        """ToolError when it is over: a thread may still be at it then."""
        if self.over:
            raise ToolError("It was broken off.")


UNLIMITED = Quota(None, 0)


def _weight(found: os.stat_result) -> int:
    return BLOCK if stat.S_ISDIR(found.st_mode) else weight(found.st_size)
