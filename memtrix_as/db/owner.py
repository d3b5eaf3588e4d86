"""The human that an installation belongs to, as far as it has been found out."""

from memtrix_as.db.pool import Connection, Pool


async def get(db: Connection | Pool) -> str | None:
    found: str | None = await db.fetchval("select user_id from owner")
    return found


async def company(
    db: Connection | Pool, room_id: str, speaker: str = ""
) -> tuple[tuple[str, ...], str | None]:
    """The humans that are joined to the room, `speaker` counted too; and the owner."""
    row = await db.fetchrow(
        """
        select array(
            select user_id from (
                select user_id from members where room_id = $1 union select $2::text) present
            where user_id <> '' and user_id not in (select user_id from agents)
            order by user_id) as people, (select user_id from owner) as owner
        """,
        room_id,
        speaker,
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
