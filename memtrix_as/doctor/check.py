"""What a check is and what it finds; all of them together, each no longer than it may take."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from memtrix_as.config import redact
from memtrix_as.errors import MemtrixError

State = Literal["ok", "warn", "fail", "skipped"]

PATIENCE = 8.0  # seconds that one check may take, where it does not say otherwise
UNKNOWN = "run it again; if it stays so, the log of the service may tell more"
ALL = 28.0  # seconds that all of them may take together


@dataclass(frozen=True, slots=True)
class Finding:
    """What a check has seen; `fix` is the command to run or the key to change."""

    check: str
    state: State
    found: str
    fix: str = ""


class Ailing(MemtrixError):
    """A check has found a fault: the text is what, `fix` is the way out."""

    def __init__(self, found: str, fix: str, state: State = "fail") -> None:
        super().__init__(found)
        self.fix = fix
        self.state: State = state


@dataclass(frozen=True, slots=True)
class Check:
    """Looks at one thing: returns what it saw, in words, or raises Ailing.

    It begins once those that it `needs` have found no fault, and is skipped if one has. What is
    wrong in another way than Ailing tells has `fix` as its way out.
    """

    name: str
    run: Callable[[], Awaitable[str | Sequence[Finding]]]
    needs: tuple[str, ...] = ()
    patience: float = PATIENCE
    fix: str = ""
    late: State = "fail"  # what it is not to be ready in time


async def examine(checks: Iterable[Check], within: float = ALL) -> list[Finding]:
    """Run them beside each other; what they found, in their own order."""
    outcomes: dict[str, asyncio.Task[list[Finding]]] = {}
    deadline = asyncio.get_running_loop().time() + within
    for check in checks:  # what a check needs stands before it
        outcomes[check.name] = asyncio.create_task(_outcome(check, outcomes, deadline))
    found = await asyncio.gather(*outcomes.values())
    return [_clean(each) for several in found for each in several]


async def _outcome(
    check: Check, others: Mapping[str, asyncio.Task[list[Finding]]], deadline: float
) -> list[Finding]:
    for name in check.needs:
        if any(each.state in ("fail", "skipped") for each in await others[name]):
            return [Finding(check.name, "skipped", f"cannot be looked at before {name} is well")]
    now = asyncio.get_running_loop().time()
    until = min(now + check.patience, deadline)
    try:
        async with asyncio.timeout_at(until):
            found = await check.run()
    except Ailing as exc:
        return [Finding(check.name, exc.state, str(exc), exc.fix)]
    except MemtrixError as exc:
        return [Finding(check.name, "fail", str(exc), check.fix or UNKNOWN)]
    except TimeoutError:
        text = f"gave no answer within {max(until - now, 0):.0f} s"
        return [Finding(check.name, check.late, text, check.fix or UNKNOWN)]
    except Exception as exc:  # one check: the others are to be told all the same
        text = f"cannot be looked at ({type(exc).__name__}: {exc})"
        return [Finding(check.name, "fail", text, check.fix or UNKNOWN)]
    return [Finding(check.name, "ok", found)] if isinstance(found, str) else list(found)


def _clean(finding: Finding) -> Finding:
    found, fix = (" ".join(redact(text).split()) for text in (finding.found, finding.fix))
    return replace(finding, found=found, fix=fix)
