"""Secrets: where they are found, that no process listing shows them, and that no text does."""

import json
import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import memtrix_as
from memtrix_as import config
from memtrix_as.errors import ConfigError
from memtrix_as.settings import secrets
from memtrix_as.settings.secrets import RedactingFilter, Redactor

VALUE = "sk-or-v1-4f1c9d"
CONFIG = """
homeserver: {address: "http://localhost:6167", domain: memtrix.local}
appservice: {address: "http://localhost:29345", hostname: 127.0.0.1, port: 29345,
             as_token: first-token-1, hs_token: second-token-2}
main_agent: {name: Memtrix, model: m}
providers: {p: {type: openrouter, api_key: $TEST_KEY}}
models: {m: {provider: p, model: x}}
permissions: {"*": user}
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "config.yaml"
    file.write_text(CONFIG)
    return file


def test_a_named_file_comes_first_then_the_folder_then_the_variable(tmp_path: Path) -> None:
    named = tmp_path / "named"
    named.write_text("from a named file\n")
    (tmp_path / "KEY").write_text("from the folder\r\n")
    variables = {"MEMTRIX_SECRET_KEY": "from the variable", "MEMTRIX_SECRET_KEY_FILE": str(named)}
    assert secrets.find("KEY", variables, tmp_path) == "from a named file"
    del variables["MEMTRIX_SECRET_KEY_FILE"]
    assert secrets.find("KEY", variables, tmp_path) == "from the folder"
    (tmp_path / "KEY").unlink()
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "KEY").write_text("from beside the configuration")
    own = secrets.find("KEY", variables, tmp_path, tmp_path / "own")
    assert own == "from beside the configuration"
    assert secrets.find("KEY", variables, tmp_path) == "from the variable"


def test_a_missing_secret_is_told_with_all_three_ways(path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        config.load(path)
    told = str(caught.value)
    assert "providers.p.api_key: the secret $TEST_KEY is not there" in told
    assert "MEMTRIX_SECRET_TEST_KEY_FILE" in told
    assert "/run/secrets/TEST_KEY" in told
    assert "or by the variable MEMTRIX_SECRET_TEST_KEY" in told


@pytest.mark.parametrize("name", ["", "A B", "1A", "A-B", "../passwd", "KEY_FILE"])
def test_what_is_no_name_of_a_secret_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(LookupError, match="names a secret"):
        secrets.find(name, {f"MEMTRIX_SECRET_{name}": "x"}, tmp_path)


def test_a_named_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    variables = {"MEMTRIX_SECRET_KEY_FILE": str(tmp_path / "gone"), "MEMTRIX_SECRET_KEY": "x"}
    with pytest.raises(LookupError, match=r"cannot be read from .*gone"):
        secrets.find("KEY", variables, tmp_path)


def test_an_empty_secret_counts_as_missing(tmp_path: Path) -> None:
    (tmp_path / "KEY").write_text("\n")
    with pytest.raises(LookupError, match="is not there"):
        secrets.find("KEY", {}, tmp_path)


def test_a_secret_is_resolved_and_shown_nowhere(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MEMTRIX_SECRET_TEST_KEY", VALUE)
    settings = config.load(path)
    assert settings.providers["p"].options["api_key"] == VALUE
    assert VALUE not in repr(settings)
    assert config.redact(f"401 for {VALUE}, first-token-1") == "401 for [secret], [secret]"


def test_a_secret_of_the_wrong_kind_is_not_quoted(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MEMTRIX_SECRET_TEST_KEY", "my secret value")
    path.write_text(
        CONFIG.replace("port: 29345", "port: $TEST_KEY").replace(
            'address: "http://localhost:29345"', "address: $TEST_KEY"
        )
    )
    with pytest.raises(ConfigError) as caught:
        config.load(path)
    assert "appservice.port: found a secret that is something else" in str(caught.value)
    assert "appservice.address: found a secret, expected a web address" in str(caught.value)
    assert "my secret value" not in str(caught.value)


def test_child_processes_get_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEMTRIX_SECRET_A", VALUE)
    monkeypatch.setenv("MEMTRIX_SECRET_A_FILE", "/somewhere")
    monkeypatch.setenv("HARMLESS", "1")
    environment = config.child_environment()
    assert environment["HARMLESS"] == "1"
    assert not [name for name in environment if "SECRET" in name]


# A program that stands where `memtrix_as.__main__` will, with the real package behind it.
PROGRAM = """
import json, os, sys
from pathlib import Path
from memtrix_as import config
config.clean_environment(sys.argv)
settings = config.load(Path(sys.argv[2]))
print(json.dumps({
    "key": settings.providers["p"].options["api_key"],
    "argv": sys.argv[1:],
    "names": sorted(os.environ),
    "open": [os.readlink(f"/proc/self/fd/{n}") for n in os.listdir("/proc/self/fd") if int(n) > 2
             and os.path.exists(f"/proc/self/fd/{n}")],
}), flush=True)
sys.stdin.read()
"""


@pytest.fixture
def program(tmp_path: Path) -> Path:
    package = tmp_path / "program" / "memtrix_as"
    package.mkdir(parents=True)
    real = Path(memtrix_as.__file__).parent
    (package / "__init__.py").write_text(f"__path__.append({str(real)!r})\n")
    (package / "__main__.py").write_text(PROGRAM)
    return package.parent


def start(program: Path, path: Path, **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "memtrix_as", "-c", str(path), "with space"],
        cwd=program,
        env={**os.environ, **environment},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="needs Linux's /proc")
def test_9_no_secret_in_what_the_system_shows_of_the_process(program: Path, path: Path) -> None:
    with start(program, path, MEMTRIX_SECRET_TEST_KEY=VALUE, HARMLESS="1") as process:
        assert process.stdout
        seen = json.loads(process.stdout.readline())
        proc = Path(f"/proc/{process.pid}")
        environ, cmdline = (proc / "environ").read_bytes(), (proc / "cmdline").read_bytes()
        process.communicate("")
    assert seen["key"] == VALUE
    assert seen["argv"] == ["-c", str(path), "with space"]
    assert b"HARMLESS=1" in environ
    assert b"MEMTRIX_SECRET_" not in environ
    assert VALUE.encode() not in environ + cmdline
    assert not [name for name in seen["names"] if name.startswith("MEMTRIX")]
    assert not [file for file in seen["open"] if file.startswith("pipe:")]


def test_secrets_from_files_need_no_new_start(program: Path, path: Path, tmp_path: Path) -> None:
    (tmp_path / "key").write_text(VALUE + "\n")
    pointer = str(tmp_path / "key")
    with start(program, path, MEMTRIX_SECRET_TEST_KEY_FILE=pointer) as process:
        out, _ = process.communicate("")
    assert json.loads(out)["key"] == VALUE
    assert "MEMTRIX_SECRET_TEST_KEY_FILE" in json.loads(out)["names"]


def test_the_command_line_cleans_its_environment_first() -> None:
    """The same arguments arrive: with a secret around, the version is told as without."""
    environment = {**os.environ, "MEMTRIX_SECRET_TEST_KEY": VALUE}
    command = [sys.executable, "-m", "memtrix_as", "--version"]
    out = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert out.stdout == f"memtrix-as {memtrix_as.__version__}\n"


def test_a_foreign_handover_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEMTRIX_HANDOVER_FD", "not a number")
    with pytest.raises(ConfigError, match="unset it"):
        config.clean_environment([])


def test_the_redactor_knows_the_forms_of_a_secret() -> None:
    redact = Redactor()
    redact.learn('pä ss/w"rd')
    assert redact('at pä ss/w"rd.') == "at [secret]."
    assert redact("?t=p%C3%A4%20ss%2Fw%22rd") == "?t=[secret]"
    assert redact(json.dumps({"t": 'pä ss/w"rd'})) == '{"t": "[secret]"}'


def test_the_password_of_a_database_is_a_secret_of_its_own() -> None:
    redact = Redactor()
    redact.learn("postgresql://memtrix:s3cr3t%21pw@db:5432/memtrix")
    assert redact("cannot log in with s3cr3t!pw") == "cannot log in with [secret]"
    assert redact("postgresql://memtrix:s3cr3t%21pw@db:5432/memtrix") == "[secret]"
    redact.learn("postgresql://memtrix:memtrix@db/memtrix")
    assert redact("memtrix is here") == "memtrix is here"  # or no log could be read any more


def test_the_longer_of_two_secrets_goes_whole() -> None:
    redact = Redactor()
    redact.learn("secret-one")
    redact.learn("secret-one-and-more")
    assert redact("secret-one-and-more") == "[secret]"


@pytest.mark.parametrize("value", ["hunter2", "postgres", "changemenow", "20261123", "größer"])
def test_what_others_write_as_well_is_left_alone(value: str) -> None:
    redact = Redactor()
    redact.learn(value)
    assert redact(f"A {value} is a {value}.") == f"A {value} is a {value}."


@pytest.mark.parametrize("value", ["hunter2!", "correcthorse", "123456789012", "p-4711-x"])
def test_what_only_a_secret_looks_like_is_not(value: str) -> None:
    redact = Redactor()
    redact.learn(value)
    assert redact(f"it is {value}") == "it is [secret]"


SECRETS = st.text(min_size=8).filter(lambda text: not secrets.TRIVIAL.fullmatch(text))


@given(SECRETS, st.text(), st.text())
def test_no_text_shows_a_known_secret(secret: str, before: str, after: str) -> None:
    redact = Redactor()
    redact.learn(secret)
    shown = redact(before + secret + after)
    assert secret not in shown or secret in "[secret]" or secret in before + "[secret]" + after


@pytest.fixture
def log() -> Iterator[tuple[logging.Logger, list[str]]]:
    redact, lines = Redactor(), []
    redact.learn(VALUE)

    class Lines(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(self.format(record))

    handler = Lines()
    handler.addFilter(RedactingFilter(redact))
    logger = logging.getLogger("test_secrets")
    logger.addHandler(handler)
    logger.propagate = False
    yield logger, lines
    logger.removeHandler(handler)
    logger.propagate = True


def test_a_log_line_shows_no_secret(log: tuple[logging.Logger, list[str]]) -> None:
    logger, lines = log
    logger.warning("key %s of %s", VALUE, {"key": VALUE})
    logger.warning(VALUE)
    logger.warning("%d", VALUE)  # the arguments do not fit: logging would print them raw
    try:
        try:
            raise ValueError(f"inner {VALUE}")
        except ValueError as exc:
            raise RuntimeError("outer") from exc
    except RuntimeError:
        logger.exception("failed", stack_info=True)
    text = "\n".join(lines)
    assert VALUE not in text
    assert "key [secret] of {'key': '[secret]'}" in text
    assert "ValueError: inner [secret]" in text and "RuntimeError: outer" in text


def test_a_line_without_a_secret_stays_as_it_was(log: tuple[logging.Logger, list[str]]) -> None:
    logger, lines = log
    logger.warning("%s is %d", "x", 5)
    assert lines == ["x is 5"]
