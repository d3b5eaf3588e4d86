"""What must hold after a run, seen from outside: homeserver, model, disk, tables at rest."""

import asyncio
from collections import Counter
from dataclasses import dataclass, field

import asyncpg

from tests.faults import talk
from tests.faults.town import AGENT, Town
from tests.rig.timeline import Answer

# What is left undone, or hangs on nothing. Each query counts what must not be there.
# Of a turn that failed a call may lack its result: `context.whole` says so to the model later.
TABLES = {
    "inbox rows left undone": "select count(*) from inbox where done_at is null",
    "outbox rows left unsent": """
        select count(*) from outbox where sent_at is null and failed is null""",
    "outbox rows that could not be sent": "select count(*) from outbox where failed is not null",
    "turns left open": "select count(*) from turns where state in ('running', 'parked')",
    "questions left open": "select count(*) from approvals where state = 'open'",
    "jobs left": "select count(*) from procrastinate_jobs where status in ('todo', 'doing')",
    "messages handled without a turn or a reason": """
        select count(*) from inbox i where kind = 'message' and error is null
        and joined_to is null and not exists (select from turns where turns.id = i.id)""",
    "turns that say nothing": """
        select count(*) from turns t where not exists (
            select from outbox o where kind in ('text', 'notice')
            and (o.turn_id = t.id or o.reply_to = t.event_id))""",
    "calls without a result": """
        select count(*) from messages m join turns t on t.id = m.turn_id and t.state = 'done',
            jsonb_array_elements(m.calls) call
        where jsonb_typeof(m.calls) = 'array' and not exists (
            select from messages r where r.turn_id = m.turn_id and r.role = 'tool'
            and r.id > m.id and r.call_id = call->>'id')""",
    "calls with two results": """
        select count(*) from (select from messages where role = 'tool'
            group by turn_id, call_id having count(*) > 1) twice""",
    "drafts that nothing completes": """
        select count(*) from outbox d where kind = 'draft' and sent_at is not null
        and not exists (select from outbox o where o.replaces = d.id)""",
    "sent texts that no event shows": """
        select count(*) from outbox o where sent_at is not null and kind in ('text', 'notice')
        and not exists (select from sent where outbox_id = o.id)""",
    "turns that are not in the index": "select count(*) from turns where not indexed",
    "said, but in no passage": """
        select count(*) from messages m join turns t on t.id = m.turn_id
        where m.role = 'user' and m.event_id is not null and not exists (
            select from passages p where m.id = any(p.messages))""",
    "passages of messages that are not there": """
        select count(*) from passages p, unnest(p.messages) as part
        where part > 0 and not exists (select from messages m where m.id = part)""",
    "memories that are counted wrong": """
        select count(*) from memories m where passages <> (
            select count(*) from passages p where p.agent = m.agent)
        or length <> (select coalesce(sum(length), 0) from passages p where p.agent = m.agent)""",
    "terms that are counted wrong": """
        select count(*) from terms t where passages <> (
            select count(*) from postings p where p.term = t.id)""",
    "postings of no passage": """
        select count(*) from postings p where not exists (
            select from passages where id = p.passage)""",
    "words without a posting": """
        select count(*) from passages p, unnest(p.words) as word where not exists (
            select from postings where term = word and passage = p.id)""",
    "passages without a vector": """
        select count(*) from passages p where not exists (
            select from vectors v where v.passage = p.id
            and space = (select max(id) from spaces))""",
    "vectors of another audience than their passage's": """
        select count(*) from vectors v join passages p on p.id = v.passage
        where v.audience <> p.audience or v.agent <> p.agent""",
}
BROKEN_OFF = "*(broken off)*"  # what there was of an answer, above the notice of the failure
# What is said while the end of a message is still to come; the last is the notice that it is late.
CHATTER = ("permission to run", "I condensed its older part", "nothing is lost.")
EVIDENCE = (
    "select * from turns t join inbox i using (id) where i.room_id = $1 order by id",
    "select * from outbox where room_id = $1 order by id",
    "select m.* from messages m join sessions s on s.id = session_id where room_id = $1 order by 1",
)
REFERENCES = """
    select c.conrelid::regclass::text as child, c.confrelid::regclass::text as parent,
        array(select quote_ident(attname) from unnest(c.conkey) with ordinality k (num, n)
              join pg_attribute a on a.attrelid = c.conrelid and a.attnum = k.num order by n)
            as ours,
        array(select quote_ident(attname) from unnest(c.confkey) with ordinality k (num, n)
              join pg_attribute a on a.attrelid = c.confrelid and a.attnum = k.num order by n)
            as theirs
    from pg_constraint c where c.contype = 'f'
"""


@dataclass
class Verdict:
    """What was found wrong, and the figures."""

    wrong: list[str] = field(default_factory=list)
    answered: int = 0
    errors: Counter[str] = field(default_factory=Counter)
    lost: int = 0
    twice: int = 0
    disorder: int = 0

    def __str__(self) -> str:
        told = [
            f"{self.answered} answered, {sum(self.errors.values())} told why not,"
            f" {self.lost} lost, {self.twice} answered twice, {self.disorder} out of order"
        ]
        told += [f"  {count} times: {text}" for text, count in self.errors.most_common()]
        return "\n".join([*told, *(f"  WRONG: {what}" for what in self.wrong)])


def rooms(town: Town, said: dict[str, list[str]], verdict: Verdict) -> None:
    """Each room shows one end for each of its messages, in their order."""
    for room_id, tokens in said.items():
        ends = [
            answer for answer in town.homeserver.rooms[room_id].messages(lambda s: s == AGENT)
            if not any(words in answer.text for words in CHATTER)
            and not answer.text.endswith(BROKEN_OFF)
        ]  # fmt: skip
        _room(room_id, tokens, ends, verdict)


def _room(room_id: str, tokens: list[str], ends: list[Answer], verdict: Verdict) -> None:
    left = list(tokens)
    seen: set[str] = set()
    for end in ends:
        found = talk.ANSWER.findall(end.text)
        if end.msgtype == "m.notice":
            if left:
                left.pop(0)
            verdict.errors[end.text] += 1
            continue
        if len(found) != 1 or not end.final:
            verdict.wrong.append(f"{room_id}: {end.text!r} is no whole answer")
            continue
        token = found[0]
        if token in seen:
            verdict.twice += 1
            verdict.wrong.append(f"{room_id}: {token} is answered twice")
        elif token not in left:
            verdict.disorder += 1
            verdict.wrong.append(f"{room_id}: {token} comes after what was said later")
        elif left[0] != token:
            skipped = left[: left.index(token)]
            verdict.wrong.append(f"{room_id}: {skipped} passed over before {token}")
            verdict.lost += len(skipped)
            del left[: left.index(token) + 1]
            verdict.answered += 1
        else:
            left.pop(0)
            verdict.answered += 1
        seen.add(token)
    verdict.lost += len(left)
    if left:
        verdict.wrong.append(f"{room_id}: nothing came of {left}")


def effects(town: Town, verdict: Verdict) -> None:
    """No tool ran twice, or without a yes; and what the model was told of it is true."""
    ran = Counter(town.effects)
    for what, times in ran.items():
        name, token = what.split()
        if times > 1:
            verdict.wrong.append(f"{what}: ran {times} times")
        if name == "ring" and token not in town.yes:
            verdict.wrong.append(f"{what}: without a yes")
        if talk.verb(token, town.seed) != name:
            verdict.wrong.append(f"{what}: nobody asked for it")
    for token, results in town.mind.told.items():
        name = talk.verb(token, town.seed)
        if any("is made" in r or "It rang" in r for r in results) and not ran[f"{name} {token}"]:
            verdict.wrong.append(f"{name} {token}: the model was told that it ran")


async def tables(town: Town, verdict: Verdict, patience: float = 60.0) -> None:
    """What is left undone comes to rest by itself; then nothing hangs on nothing."""
    connection = await asyncpg.connect(town.database.dsn, ssl=False)
    try:
        loop = asyncio.get_running_loop()
        until = loop.time() + patience
        while True:
            left = {w: n for w, q in TABLES.items() if (n := await connection.fetchval(q))}
            if not left or loop.time() > until:
                break
            await asyncio.sleep(0.2)
        verdict.wrong += [f"{count} {what}" for what, count in left.items()]
        for row in await connection.fetch(REFERENCES):
            ours = " and ".join(f"c.{name} is not null" for name in row["ours"])
            same = " and ".join(
                f"p.{t} = c.{o}" for o, t in zip(row["ours"], row["theirs"], strict=True)
            )
            count = await connection.fetchval(
                f"select count(*) from {row['child']} c where {ours} and not exists"
                f" (select from {row['parent']} p where {same})"
            )
            if count:
                verdict.wrong.append(f"{count} rows of {row['child']} without a {row['parent']}")
    finally:
        await connection.close()


async def judge(town: Town, said: dict[str, list[str]]) -> Verdict:
    """All of it, at the end of a run, while the processes still live."""
    verdict = Verdict()
    await tables(town, verdict)
    rooms(town, said, verdict)
    effects(town, verdict)
    if not verdict.answered:
        verdict.wrong.append("nothing was answered at all")
    await evidence(town, verdict)
    return verdict


async def evidence(town: Town, verdict: Verdict) -> None:
    """Keep what the rooms with something wrong look like, there and in the tables."""
    found = {room for room in town.homeserver.rooms if any(room in w for w in verdict.wrong)}
    with (town.folder / "evidence.txt").open("w") as file:
        for room in sorted(found):
            print(*town.homeserver.rooms[room].events, sep="\n", file=file)
            for query in EVIDENCE:
                print(*await town.database.fetch(query, room), sep="\n", file=file)
