"""Once a night: what nobody reads and nothing asks for any more is taken out of the database."""

import asyncio
import logging
from datetime import datetime, time, timedelta, tzinfo

from memtrix_as.config import Config
from memtrix_as.db import pruning
from memtrix_as.db.pool import DOWN, Pool

log = logging.getLogger(__name__)

FIRST = 900.0  # seconds after the start: some machines are off at night
NIGHT = time(3, 30)
MARGIN = timedelta(days=14)  # beyond limits.catch_up_hours, while it is told that it is too late


class Nightly:
    """Prunes the database a while after the start, and every night."""

    def __init__(self, pool: Pool, config: Config, first: float = FIRST) -> None:
        self._pool = pool
        self._first = first
        self._zone = config.timezone
        # Longer than a message may be late and still be answered.
        self._resent = timedelta(hours=config.limits.catch_up_hours) + MARGIN

    async def run(self) -> None:
        """Until it is cancelled."""
        pause = self._first
        while True:
            await asyncio.sleep(pause)
            for table, age in pruning.ages(self._resent).items():
                try:
                    if count := await pruning.prune(self._pool, table, age):
                        log.info("Deleted %d old rows of %s", count, table)
                except DOWN as exc:
                    log.warning("The database is away, %s is pruned tomorrow: %s", table, exc)
                except Exception:  # one background job: were it to end, tables would grow
                    log.exception("Old rows of %s could not be deleted", table)
            pause = until_night(datetime.now(self._zone))


def until_night(now: datetime) -> float:
    """Seconds from now to the next night, by the clock on the wall."""
    zone: tzinfo | None = now.tzinfo
    night = datetime.combine(now.date(), NIGHT, zone)
    if night <= now:
        night = datetime.combine(now.date() + timedelta(days=1), NIGHT, zone)
    return night.timestamp() - now.timestamp()
