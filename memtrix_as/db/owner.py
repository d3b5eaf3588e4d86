"""The human that an installation belongs to, as far as it has been found out."""

from memtrix_as.db.pool import Connection, Pool


async def get(db: Connection | Pool) -> str | None:
    found: str | None = await db.fetchval("select user_id from owner")
    return found


async def company(db: Connection | Pool, room_id: str) -> tuple[tuple[str, ...], str | None]:
    """User ids of all humans that are joined to the room, and the owner's."""
    row = await db.fetchrow(
        """
        select array(
            select user_id from members
            where room_id = $1 and user_id not in (select user_id from agents)
            order by user_id) as people, (select user_id from owner) as owner
        """,
        room_id,
    )
    return tuple(row["people"]), row["owner"]


async def note(db: Connection | Pool, user_id: str, admin: bool) -> None:
    """Let somebody be the owner if there is none; an administrator also in place of who is none."""
    await db.execute(
        """
        insert into owner (user_id, admin)
        select $1, $2 where not exists (select from agents where user_id = $1)
        on conflict (one) do update set user_id = excluded.user_id, admin = true
            where excluded.admin and not owner.admin
        """,
        user_id,
        admin,
    )
