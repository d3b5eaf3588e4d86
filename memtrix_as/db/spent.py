"""Tokens and money that the models took, as far as the messages know of it."""

from dataclasses import dataclass
from datetime import datetime

from memtrix_as.db.pool import Connection, Pool


@dataclass(frozen=True, slots=True)
class Spent:
    """What one agent's use of one model took; `cost` in US dollars where the provider tells it."""

    agent: str  # display name
    model: str
    calls: int
    prompt_tokens: int
    completion_tokens: int
    cost: float | None


async def since(db: Connection | Pool, begin: datetime) -> list[Spent]:
    """All that was used since then, the dearest first."""
    rows = await db.fetch(
        """
        select a.display_name as agent, m.model, count(*)::int as calls,
            coalesce(sum(m.prompt_tokens), 0)::bigint as prompt_tokens,
            coalesce(sum(m.completion_tokens), 0)::bigint as completion_tokens, sum(m.cost) as cost
        from messages m join sessions s on s.id = m.session_id join agents a on a.name = s.agent
        where m.model is not null and m.created_at >= $1
        group by a.display_name, m.model
        order by sum(m.cost) desc nulls last, sum(m.prompt_tokens) desc nulls last
        """,
        begin,
    )
    return [Spent(**row) for row in rows]
