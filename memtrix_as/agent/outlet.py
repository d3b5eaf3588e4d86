"""Where the words of a turn go: into its room, or to the agent that has asked."""

from collections.abc import Callable
from typing import Protocol

from memtrix_as.agent.means import Means
from memtrix_as.db import corrections, inbox, turns
from memtrix_as.db.inbox import Item
from memtrix_as.db.queue import Lease
from memtrix_as.db.turns import Ending, Turn
from memtrix_as.messages import Place
from memtrix_as.tool import Stream


class Outlet(Protocol):
    """Takes what a turn says while it works, and how it ended."""

    @property
    def aside(self) -> str | None:
        """The thread in which those are told who watch; None where nobody is."""

    @property
    def reply_to(self) -> str | None:
        """The event that the answer replies to, where it would not be clear otherwise."""

    def feed(self, text: str) -> None:
        """A piece of the answer; returns at once."""

    async def finish(self) -> None:
        """Show no more for now; may be called again."""

    def resume(self) -> None:
        """Show again that somebody works."""

    async def end(self, ending: Ending, outside: str) -> None:
        """Commit the end of the turn; LostTurn if it is not ours to end.

        `outside` is where text from outside is from that its model has read.
        """


class ToRoom:
    """The room of the turn, where humans read along."""

    def __init__(
        self,
        means: Means,
        item: Item,
        lease: Lease,
        turn: Turn,
        place: Place,
        show: Callable[[], Stream],
        *,
        aside: str | None,
        reply_to: str | None,
    ) -> None:
        self.aside, self.reply_to = aside, reply_to
        self._means, self._item, self._lease, self._turn = means, item, lease, turn
        self._place = place
        self._show = show
        self._shown, self._stream = True, show()

    def feed(self, text: str) -> None:
        self._stream.feed(text)

    async def finish(self) -> None:
        self._shown = False
        await self._stream.finish()

    def resume(self) -> None:
        if not self._shown:  # another call may have been answered first
            self._shown, self._stream = True, self._show()

    async def end(self, ending: Ending, outside: str) -> None:
        pool, ours = self._means.pool, (self._item, self._lease, self._turn, self._place)
        if not ending.error:
            await turns.end(pool, *ours, ending)
            return
        # It may have failed at one call while another agent is asked by the next.
        async with pool.acquire() as db, db.transaction():
            await inbox.hold(db, self._item.id)
            await corrections.unask(db, self._turn.id)
            await turns.end(db, *ours, ending)
