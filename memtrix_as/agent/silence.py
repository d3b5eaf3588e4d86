"""Nobody is left waiting without a word: what takes too long is told once, with its cause."""

import asyncio
import logging

from memtrix_as.agent import notices, questions
from memtrix_as.agent.means import Means
from memtrix_as.db import inbox, overdue
from memtrix_as.db.overdue import Overdue
from memtrix_as.db.pool import DOWN, reachable

log = logging.getLogger(__name__)

RECOVERY = 5.0  # seconds that the workers get first: at the start, and when the database is back
SOONEST = 1.0  # seconds between two looks while somebody else has a late message in hand

LATE = "No answer to this yet, after {time}: {cause}. {way}"
IN_LINE = "It is still in line; nothing is lost."
AT_IT = "I am still at it; nothing is lost."
BEHIND = " The same holds for what was written after it ({count})."
CAUSES = {
    "turn": "the model {model} is slow, or does not answer at all",
    "tool": "the tool {tool} is still running",
    "fetching": "what is attached to it is still being fetched",
    "question": "I wait for a yes or no to a question that I have asked before it",
    "line": "{before} to be worked on before it",
    "crowded": "other rooms have all my places for work",
    "nobody": "no worker runs that could take it up",
    "lost": "nobody has taken it up",
}
AGAIN = (
    "whoever worked on it stopped in the middle ({attempts} times by now), and it was begun anew"
)
DATABASE = "my database was away meanwhile"


class Watch:
    """Looks for messages that are late: one timer for all of them, in every process.

    It sleeps until the next can be late, but not longer than the deadline: so one that comes
    meanwhile cannot be late before the next look. All times are the database's.
    """

    def __init__(self, means: Means) -> None:
        self._means = means
        self._deadline = means.config.limits.answer_deadline
        self._away_at: float | None = None  # when the database was last seen to be away
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name="watch")

    async def stop(self) -> None:
        if self._task:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        pool, deadline = self._means.pool, self._deadline
        first = min(RECOVERY, deadline)
        await asyncio.sleep(first)
        while True:
            try:
                await self.look()
                due = await overdue.next_due(pool, deadline)
            except DOWN as exc:
                log.warning("The database is away, nobody can be told what is late: %s", exc)
                await reachable(pool)
                await asyncio.sleep(first)
                self._away_at = asyncio.get_running_loop().time()
                continue
            except Exception:  # one background job: were it to end, nobody would be told
                log.exception("Looking for messages that are late failed; trying again")
                due = first
            await asyncio.sleep(min(max(deadline if due is None else due, SOONEST), deadline))

    async def look(self) -> None:
        """Tell of all that is late now."""
        for lane in await overdue.lanes(self._means.pool, self._deadline):
            async with self._means.pool.acquire() as connection, connection.transaction():
                found = await overdue.take(connection, lane, self._deadline)
                if found is None:
                    continue
                place = self._means.read(found.message.payload, found.message.agent).place
                text = words(found, database=self._was_away())
                log.warning(
                    "A message in %s waits for %.0f s (%s)", lane, found.message.waited, found.why
                )
                controls = inbox.controls(place.room_id, place.agent)
                await overdue.tell(connection, controls, place, found.message.event_id, text)
            self._means.chat.post(controls)

    def _was_away(self) -> bool:
        now = asyncio.get_running_loop().time()
        return self._away_at is not None and now - self._away_at < self._deadline


def words(found: Overdue, *, database: bool = False) -> str:
    """The sentence for the room: how long, why, and that nothing need be done."""
    head, ours = found.head, found.head.id == found.message.id
    cause = CAUSES[found.why].format(
        model=questions.code(head.model),
        tool=questions.code(head.tool or ""),
        before=_are(found.before),
    )
    if ours and head.attempts > 1 and found.why == "turn":
        cause = AGAIN.format(attempts=head.attempts - 1)
    elif database and found.why in ("turn", "lost", "nobody"):
        cause = DATABASE
    way = AT_IT if ours and head.doing else IN_LINE
    text = LATE.format(time=notices.duration(found.message.waited), cause=cause, way=way)
    return text + (BEHIND.format(count=found.behind) if found.behind else "")


def _are(count: int) -> str:
    return "one message is" if count == 1 else f"{count} messages are"
