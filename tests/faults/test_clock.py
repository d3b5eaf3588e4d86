"""The clock of a process, and that of the homeserver, are hours off, and jump between two lives."""

from tests.faults import talk, verdict
from tests.faults.doom import Doom
from tests.faults.town import HUMAN, Town
from tests.rig.waiting import eventually

HOUR = 3600.0
# Further off than `limits.catch_up_hours` reaches: how old a message is, and when a question is
# over, the database's clock says.
JUMP = 30.0
EACH = 8  # messages between two jumps


async def test_a_clock_that_jumps_loses_nothing(town: Town) -> None:
    said: dict[str, list[str]] = {}
    room = ""

    async def at_rest() -> bool:
        left = await town.database.fetch("select from inbox where done_at is null")
        return not left and len(town.mind.told) == len(said[room])

    for number, hours in enumerate((0.0, JUMP, -JUMP)):
        if number:
            await town.service.kill()
        await town.start(doom=Doom(clock=hours * HOUR))
        await town.ready()
        room = room or await town.chat()
        town.homeserver.skew = -hours * HOUR / 3
        for n in range(EACH):
            token = f"r0m{EACH * number + n}"
            said.setdefault(room, []).append(token)
            town.homeserver.say(room, HUMAN, talk.message(token, town.seed))
        await eventually(at_rest, "all to be answered", 60)
    judged = await verdict.judge(town, said)
    assert not judged.wrong, f"{judged}"
    assert judged.answered == 3 * EACH
    rung = {f"ring {token}" for token in town.yes}
    assert len(rung) >= 3 and rung <= {*town.effects}, "a yes came in time, and was not heard"
