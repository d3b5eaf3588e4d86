"""The image without Docker: the Dockerfile read, and what it says carried out in a folder.

What is adapted: `/opt/memtrix`, `/app` and `/memtrix` are folders below one of the test's; pip
installs without an index, and takes all dependencies from the environment that runs the
tests; torch, the operating system's packages and tini are left out.
"""

import fnmatch
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
UID = 1000
# Where Python itself lies in root's home, user 1000 may read it, and still write nothing.
READ = "-all,+dac_read_search"


@dataclass(frozen=True)
class Step:
    """One instruction of the Dockerfile."""

    name: str
    text: str

    @property
    def words(self) -> list[str]:
        """Of the JSON form."""
        return list(json.loads(self.text[self.text.index("[") :]))


def steps() -> list[list[Step]]:
    """The instructions, by stage."""
    text = re.sub(r"^\s*#.*\n", "", (ROOT / "Dockerfile").read_text(), flags=re.MULTILINE)
    lines = re.sub(r"\\\n\s*", " ", text).splitlines()
    stages: list[list[Step]] = []
    for name, _, rest in (line.partition(" ") for line in lines if line.strip()):
        if name == "FROM":
            stages.append([])
        stages[-1].append(Step(name, rest.strip()))
    return stages


def context(folder: Path) -> None:
    """What `docker build` gets of this checkout: of .dockerignore's rules the last one counts."""
    rules = [r for r in (ROOT / ".dockerignore").read_text().split("\n") if r and r[0] != "#"]
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, check=True, capture_output=True,
    ).stdout.decode()  # fmt: skip
    for name in filter(None, listed.split("\0")):
        kept = True
        for rule in rules:
            pattern = rule.lstrip("!").removeprefix("**/")
            tops = {name, name.split("/")[0]}
            if "**/" in rule:  # else it is of the topmost folder only
                tops |= set(name.split("/"))
            if any(fnmatch.fnmatch(top, pattern) for top in tops):
                kept = rule.startswith("!")
        if kept and (ROOT / name).exists():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)


@dataclass
class Image:
    """What stands in the image, below `folder`; `built` says what was done for it."""

    folder: Path
    built: list[str] = field(default_factory=list)

    def at(self, text: str) -> str:
        """The folder's paths in place of the image's."""
        return re.sub(r"(?<![\w./-])/(opt/memtrix|app|memtrix)\b", rf"{self.folder}/\1", text)

    def build(self) -> None:
        context(self.folder / "context")
        (self.folder / "app").mkdir()
        for step in steps()[0]:
            if step.name == "RUN":
                self._run(step.text)
            elif step.name == "COPY":
                self._copy(step.text.split())
        for name in ("config", "workspace", "agents", "data"):
            (self.folder / "memtrix" / name).mkdir(parents=True)
        if os.getuid() == 0:
            subprocess.run(["chown", "-R", f"{UID}:{UID}", self.folder / "memtrix"], check=True)
        subprocess.run(
            ["chmod", "-R", "a-w", *(self.folder / n for n in ("opt", "app"))], check=True
        )

    def _run(self, text: str) -> None:
        """A step of the first stage, in the folder that stands for /app."""
        text = self.at(re.sub(r"--mount=\S+ ", "", text))
        if "download.pytorch.org" in text:
            return
        if "pip --python" in text:
            self._borrow()
            flags = "install -q --no-deps --no-index --no-build-isolation"
            text = re.sub(
                r"\bpip (--python \S+) install", rf"{sys.executable} -m pip \1 {flags}", text
            )
        text = re.sub(r"^python\b", sys.executable, text)
        done = subprocess.run(
            ["sh", "-ec", text], cwd=self.folder / "app", env={"PATH": os.environ["PATH"]},
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, text + done.stderr
        self.built.append(text)

    def _borrow(self) -> None:
        """The dependencies, and what builds a package, are those of the tests."""
        ours = Path(next(p for p in sys.path if p.endswith("site-packages")))
        (theirs,) = (self.folder / "opt/memtrix").glob("lib/python*/site-packages")
        (theirs / "borrowed.pth").write_text(f"{ours}\n")
        alembic = self.folder / "opt/memtrix/bin/alembic"
        script = Path(sys.executable).with_name("alembic").read_text().split("\n", 1)[1]
        alembic.write_text(f"#!{self.folder}/opt/memtrix/bin/python\n{script}")
        alembic.chmod(0o755)

    def _copy(self, words: list[str]) -> None:
        *what, to = words
        source, target = self.folder / "context", self.folder / "app" / to
        for name in what:
            if (source / name).is_dir():
                shutil.copytree(source / name, target)
            else:
                shutil.copy(source / name, target / name)

    @property
    def environment(self) -> dict[str, str]:
        """The image's ENV, and the least that a container has besides."""
        found = {"PATH": "/usr/local/bin:/usr/bin:/bin"}
        for step in steps()[-1]:
            if step.name == "ENV":
                for pair in shlex.split(step.text):
                    name, _, value = pair.partition("=")
                    found[name] = self.at(value).replace("$PATH", found["PATH"])
        return found

    def command(self, name: str) -> list[str]:
        """CMD or HEALTHCHECK as it runs in a container, with the folder's paths."""
        (step,) = (step for step in steps()[-1] if step.name == name)
        return [self.at(word) for word in step.words]

    def started(self, command: list[str]) -> list[str]:
        """The same, as the image's user; also where its Python lies in another's home."""
        found = shutil.which(command[0], path=self.environment["PATH"])
        assert found, f"the image has no {command[0]}"
        if os.getuid() != 0:
            return [found, *command[1:]]
        user = [f"--reuid={UID}", f"--regid={UID}", "--clear-groups", "--no-new-privs"]
        caps = [f"--inh-caps={READ}", f"--ambient-caps={READ}", f"--bounding-set={READ}"]
        setpriv = shutil.which("setpriv") or "setpriv"
        return [setpriv, *user, *caps, found, *command[1:]]

    def run(self, command: list[str], **more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.started(command), cwd=self.folder / "app", env=self.environment | more,
            capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip


def compose(folder: Path, *more: str) -> dict[str, Any]:
    """docker-compose.yml as Docker Compose itself reads it."""
    program = Path(sys.executable).with_name("docker-compose")
    told = subprocess.run(
        [program, "--profile", "setup", "config", "--format", "json", *more],
        cwd=folder, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert told.returncode == 0, told.stderr
    return dict(json.loads(told.stdout))
