"""Questions that a tool asks in the middle of a call: how they stand, and the end of the call."""

from memtrix_as.db.approvals import State, closing
from memtrix_as.db.pool import Pool
from memtrix_as.db.queue import Lease, held
from memtrix_as.errors import LostTurn


async def still(pool: Pool, lease: Lease, message_id: int, call_id: str, ordinal: int) -> State:
    """How a question stands that a running call has asked; LostTurn if the turn is not ours."""
    row = await pool.fetchrow(
        f"""
        select state, {held("$4", "$5", lock="")} as held from approvals
        where message_id = $1 and call_id = $2 and ordinal = $3
        """,
        message_id,
        call_id,
        ordinal,
        lease.job_id,
        lease.worker_id,
    )
    if row is None or not row["held"]:
        raise LostTurn("the turn of a question was ended meanwhile")
    state: State = row["state"]
    return state


async def cut(pool: Pool, turn_id: int, call_id: str) -> None:
    """Close what a call has asked that will not go on."""
    which = "ordinal > 0 and call_id = $2"
    await pool.execute(
        f"with {closing('select $1::bigint', which)} select from closed", turn_id, call_id
    )
