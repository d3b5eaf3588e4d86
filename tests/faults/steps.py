"""A process that dies at each step of a turn in turn: the first, the second, … up to the last."""

import asyncio
import itertools
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field

from tests.faults import talk, verdict
from tests.faults.doom import Doom
from tests.faults.nursery import Mortal
from tests.faults.town import AGENT, HUMAN, Town
from tests.faults.verdict import Verdict
from tests.rig.waiting import until

PATIENCE = 30.0  # seconds for a turn that was cut to come to its end


@dataclass
class Walk:
    """Turns of one kind (`say`, `mark`, `ring`) in one room, each with a death at another step."""

    town: Town
    verb: str
    said: list[str] = field(default_factory=list)
    died: dict[str, str] = field(default_factory=dict)  # token: the step that was not reached

    def tokens(self) -> Iterator[str]:
        seed = self.town.seed
        for n in itertools.count():
            token = f"r{len(self.verb)}m{n}"
            if talk.verb(token, seed) == self.verb:
                yield token

    async def run(self, wanted: Callable[[int], bool] = lambda step: True) -> Verdict:
        """Up to the first step that no turn reaches; those that are not `wanted` are left out."""
        town, room = self.town, ""
        for step, token in zip(itertools.count(1), self.tokens(), strict=False):
            if not wanted(step):
                continue
            process = await self._born(step)
            if self.said:
                await self._ends(room, self.said[-1])  # what the one before has left
            room = room or await town.chat()
            process.arm()
            self.said.append(token)
            town.homeserver.say(room, HUMAN, talk.message(token, town.seed))
            await self._ends(room, token)
            if process.alive:
                await asyncio.sleep(0.5)  # what follows an answer are steps as well
            if process.alive:
                break
            self.died[token] = (town.folder / f"steps{step}").read_text().splitlines()[-1]
        await town.service.kill()  # else it would die while it is judged
        await town.start()
        judged = await verdict.judge(town, {room: self.said})
        judged.wrong = [
            f"{what} [{'; '.join(f'{t} died at {s}' for t, s in self.died.items() if t in what)}]"
            for what in judged.wrong
        ]
        return judged

    async def _born(self, step: int) -> Mortal:
        town = self.town
        if "service" in town.processes:
            await town.service.kill()
        doom = Doom(step, str(town.folder / "counter"), str(town.folder / f"steps{step}"))
        process = await town.start(doom=doom)
        await town.ready()
        return process

    async def _ends(self, room: str, token: str) -> None:
        """Wait until the message has its answer, or the process has died."""
        with suppress(AssertionError):  # the verdict tells more
            await until(
                lambda: not self.town.service.alive or self._ended(room, token), token, PATIENCE
            )

    def _ended(self, room: str, token: str) -> bool:
        ends = self.town.homeserver.rooms[room].messages(lambda sender: sender == AGENT)
        return any(end.final and end.text == talk.answer(token) for end in ends[-3:])
