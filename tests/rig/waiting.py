"""Waiting for a condition instead of sleeping: woken by whoever changes something."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")

PATIENCE = 40.0  # seconds; generous, because the cores are shared, and spent only on failure


class Waiting:
    """Something that changes and can be waited for."""

    def __init__(self) -> None:
        self._wake: set[asyncio.Event] = set()

    def changed(self) -> None:
        for event in self._wake:
            event.set()

    def picture(self) -> str:
        """What stands there now, for the message of a test that waited in vain."""
        return ""

    async def until(
        self, condition: Callable[[], T | None], what: str, timeout: float = PATIENCE
    ) -> T:
        """Wait until `condition` gives something, and return it."""
        deadline, event = time.monotonic() + timeout, asyncio.Event()
        self._wake.add(event)
        try:
            while not (found := condition()):
                event.clear()
                try:
                    await asyncio.wait_for(event.wait(), deadline - time.monotonic())
                except TimeoutError:
                    raise AssertionError(
                        f"waited {timeout:g} s for {what}\n{self.picture()}"
                    ) from None
            return found
        finally:
            self._wake.discard(event)


async def until(condition: Callable[[], T | None], what: str, timeout: float = PATIENCE) -> T:
    """Poll for something that tells nobody when it changes."""
    deadline = time.monotonic() + timeout
    while not (found := condition()):
        assert time.monotonic() < deadline, f"waited {timeout:g} s for {what}"
        await asyncio.sleep(0.01)
    return found


async def eventually(
    condition: Callable[[], Awaitable[T | None]], what: str, timeout: float = PATIENCE
) -> T:
    """The same with a condition that has to be awaited, such as a look into the database."""
    deadline = time.monotonic() + timeout
    while not (found := await condition()):
        assert time.monotonic() < deadline, f"waited {timeout:g} s for {what}"
        await asyncio.sleep(0.02)
    return found
