"""Who is present in a room, and what of the memory is theirs to know."""

from dataclasses import dataclass

from memtrix_as.config import Config
from memtrix_as.db import owner
from memtrix_as.db.pool import Connection, Pool

NOBODY = ("~",)  # no user id: what all of nobody may know is not everything


@dataclass(frozen=True, slots=True)
class Company:
    """The humans in a room now, and the human that the installation belongs to."""

    people: tuple[str, ...]
    owner: str | None
    shared: bool = False  # what one human told may be found for the others
    open_files: bool = False  # USER.md and MEMORY.md are for everybody

    @property
    def known_to(self) -> tuple[str, ...] | None:
        """Whom a search must be fit for; None when that does not matter."""
        if self.shared:
            return None
        return self.people or NOBODY

    @property
    def private(self) -> bool:
        """Whether nobody but the owner is present: USER.md and MEMORY.md are theirs."""
        return self.open_files or set(self.people) == {self.owner}


class Companies:
    """Looks up who is present; and finds out who the owner is."""

    def __init__(self, pool: Pool, config: Config) -> None:
        self._pool = pool
        self._memory = config.memory
        self._roles = config.permissions
        self._noted: set[str] = set()

    async def of(
        self, room_id: str, db: Connection | None = None, speaker: str | None = None
    ) -> Company:
        """Who is in the room now; `speaker` counts as present even if they have left since."""
        people, noted = await owner.company(db or self._pool, room_id, speaker or "")
        memory = self._memory
        return Company(people, memory.owner or noted, memory.shared, memory.show_owner_files)

    async def meet(self, user_id: str) -> None:
        """Somebody writes to an agent: without a configured owner the first who does is it,
        until an administrator does."""
        if self._memory.owner is None and user_id not in self._noted:
            await owner.note(self._pool, user_id, self._roles.get(user_id) == "admin")
            self._noted.add(user_id)
