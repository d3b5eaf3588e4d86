"""Where the words of a turn go: into its room, or to the agent that has asked."""

from dataclasses import dataclass
from typing import Protocol

from memtrix_as.agent.means import Means
from memtrix_as.db import turns
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

    async def end(self, ending: Ending, outside: str) -> None:
        """Commit the end of the turn; LostTurn if it is not ours to end.

        `outside` is where text from outside is from that its model has read.
        """


@dataclass(frozen=True)
class ToRoom:
    """The room of the turn, where humans read along."""

    means: Means
    item: Item
    lease: Lease
    turn: Turn
    place: Place
    stream: Stream
    aside: str | None
    reply_to: str | None

    def feed(self, text: str) -> None:
        self.stream.feed(text)

    async def finish(self) -> None:
        await self.stream.finish()

    async def end(self, ending: Ending, outside: str) -> None:
        await turns.end(self.means.pool, self.item, self.lease, self.turn, self.place, ending)
