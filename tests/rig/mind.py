"""Installations that are backed up and restored: each a folder with a database of its own."""

import asyncio
import hashlib
import os
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import asyncpg

from tests.rig.database import Database
from tests.rig.settings import settings, tokens, write

ROOT = Path(__file__).parents[2]


@dataclass
class Installation:
    """One configuration in a folder; `run` is the command line in it."""

    folder: Path
    dsn: str
    values: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.values = self.values or settings(tokens("memtrix"), "http://127.0.0.1:9", 1, self.dsn)
        self.folder.mkdir(exist_ok=True)

    @property
    def config(self) -> Path:
        return write(self.folder / "config.yaml", self.values)

    async def run(self, *arguments: object, status: int = 0, config: Path | None = None) -> str:
        """The command line; returns what it printed."""
        child = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "memtrix_as", *map(str, arguments)),
            *("-c", str(config or self.config)),
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            cwd=self.folder,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        output, _ = await child.communicate()
        assert child.returncode == status, output.decode()
        assert "Traceback" not in output.decode(), output.decode()
        return output.decode()

    async def fetch(self, sql: str, *values: object) -> list[Any]:
        connection = await asyncpg.connect(self.dsn, ssl=False)
        try:
            return list(await connection.fetch(sql, *values))
        finally:
            await connection.close()

    async def rows(self) -> dict[str, tuple[int, str]]:
        """What every table holds: how many rows, and their sum."""
        names = await self.fetch(
            "select quote_ident(tablename) as name from pg_tables where schemaname = 'public'"
            " and tablename not like 'procrastinate%'"
        )
        found = {}
        for row in names:
            lines = await self.fetch(f"select t::text as line from {row['name']} t")
            text = "\n".join(sorted(line["line"] for line in lines))
            found[row["name"]] = len(lines), hashlib.sha256(text.encode()).hexdigest()
        return found

    def files(self) -> dict[str, bytes | None]:
        """All files and folders of the agents, by path."""
        found: dict[str, bytes | None] = {}
        for name in ("workspace", "agents"):
            for path in sorted((self.folder / name).rglob("*")):
                found[str(path.relative_to(self.folder))] = (
                    path.read_bytes() if path.is_file() else None
                )
        return found


async def another(server: Database, name: str, folder: Path, version: str = "head") -> Installation:
    """A new installation on the same server; its database is at that version, or without schema."""
    await server.fetch(f"drop database if exists {name}")
    await server.fetch(f"create database {name}")
    made = Installation(folder, server.dsn.replace("/memtrix", f"/{name}"))
    if version:
        child = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "alembic", "upgrade", version),
            cwd=ROOT,
            env={**os.environ, "MEMTRIX_CONFIG": str(made.config)},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        output, _ = await child.communicate()
        assert child.returncode == 0, output.decode()
    return made
