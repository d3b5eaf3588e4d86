"""The registration: tokens that are kept, and namespaces that claim our users and nobody else."""

import os
import re
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ruamel.yaml import YAML

from memtrix_as import config
from memtrix_as.config import AppService, Homeserver, Management
from memtrix_as.errors import ConfigError
from memtrix_as.matrix import registration
from memtrix_as.matrix.registration import alias_regex, generate, user_regexes

# Nothing but what a registration needs: the rest is filled in later.
CONFIG = """\
# my notes
homeserver:
  address: http://localhost:6167   # the local one
  domain: hs.test
appservice:
  address: http://localhost:29345
  hostname: "127.0.0.1"
  port: 29345

  # made by -g
  as_token: generate me
providers: {}   # later
"""


@pytest.fixture
def paths(tmp_path: Path) -> tuple[Path, Path]:
    (tmp_path / "config.yaml").write_text(CONFIG)
    return tmp_path / "config.yaml", tmp_path / "registration.yaml"


def read(path: Path) -> dict[str, object]:
    document = YAML(typ="safe").load(path)
    assert isinstance(document, dict)
    return document


def appservice(**settings: str) -> AppService:
    base = {"address": "http://a", "hostname": "a", "as_token": "a", "hs_token": "b"}
    return AppService(port=1, **{**base, **settings})  # type: ignore[arg-type]


def test_tokens_are_made_and_written_into_both_files(paths: tuple[Path, Path]) -> None:
    made = generate(*paths)
    assert made.new_tokens == ("as_token", "hs_token")
    service, written = config.load_service(paths[0]), read(paths[1])
    assert not service.fresh
    assert written["as_token"] == service.appservice.as_token
    assert written["hs_token"] == service.appservice.hs_token
    assert len(service.appservice.as_token) == 64
    assert service.appservice.as_token != service.appservice.hs_token


def test_the_registration_is_what_a_homeserver_expects(paths: tuple[Path, Path]) -> None:
    generate(*paths)
    written = read(paths[1])
    assert {k: v for k, v in written.items() if not k.endswith("_token")} == {
        "id": "memtrix",
        "url": "http://localhost:29345",
        "sender_localpart": "_memtrix_as",
        "rate_limited": False,
        "receive_ephemeral": False,
        "namespaces": {
            "users": [
                {"exclusive": True, "regex": r"^@memtrix:hs\.test$"},
                {"exclusive": True, "regex": r"^@memtrix_[a-z0-9._=/+-]+:hs\.test$"},
            ],
            "aliases": [{"exclusive": True, "regex": r"^\#memtrix\-admin:hs\.test$"}],
            "rooms": [],
        },
    }


def test_the_example_registration_is_what_we_write(paths: tuple[Path, Path]) -> None:
    root = Path(__file__).parent.parent
    paths[0].write_text((root / "config.example.yaml").read_text())
    generate(*paths)
    example, written = read(root / "registration.yaml.example"), read(paths[1])
    for name in ("as_token", "hs_token"):
        assert example.pop(name) == "generate me"
        assert written.pop(name) != "generate me"
    assert example == written


def test_comments_and_everything_else_stay(paths: tuple[Path, Path]) -> None:
    generate(*paths)
    before, after = CONFIG.splitlines(), paths[0].read_text().splitlines()
    assert [line for line in after if "_token" not in line] == [
        line for line in before if "_token" not in line
    ]


def test_tokens_that_exist_are_kept_and_rotated_on_demand(paths: tuple[Path, Path]) -> None:
    generate(*paths)
    first = paths[1].read_text()
    assert generate(*paths).new_tokens == ()
    assert paths[1].read_text() == first
    assert generate(*paths, new_tokens=True).new_tokens == ("as_token", "hs_token")
    assert paths[1].read_text() != first


def test_a_token_given_as_a_secret_is_used_and_not_written_down(
    paths: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MEMTRIX_SECRET_AS_TOKEN", "token-from-elsewhere")
    paths[0].write_text(CONFIG.replace("generate me", "$AS_TOKEN"))
    assert generate(*paths, new_tokens=True).new_tokens == ("hs_token",)
    assert read(paths[1])["as_token"] == "token-from-elsewhere"
    assert "as_token: $AS_TOKEN" in paths[0].read_text()
    assert "elsewhere" not in paths[0].read_text()


def test_only_the_owner_can_read_the_files(paths: tuple[Path, Path]) -> None:
    os.chmod(paths[0], 0o644)
    generate(*paths)
    assert [stat.S_IMODE(path.stat().st_mode) for path in paths] == [0o600, 0o600]
    assert sorted(p.name for p in paths[0].parent.iterdir()) == [
        "config.yaml",
        "registration.yaml",
    ]


def test_a_link_to_the_configuration_survives(paths: tuple[Path, Path], tmp_path: Path) -> None:
    link = tmp_path / "link.yaml"
    link.symlink_to(paths[0])
    generate(link, paths[1])
    assert link.is_symlink()
    assert not config.load_service(paths[0]).fresh


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("homeserver: {}\n", "homeserver.address: is missing"),
        ("{}\n", "appservice.address: is missing"),
        (CONFIG.replace("hs.test", "example.org"), "homeserver.domain: is still the example's"),
        (CONFIG + "  x\n", "is not YAML"),
        (CONFIG.replace("generate me", "short"), "appservice.as_token: expected at least 8"),
    ],
)
def test_a_wrong_configuration_is_refused_and_left_alone(
    paths: tuple[Path, Path], text: str, told: str
) -> None:
    paths[0].write_text(text)
    with pytest.raises(ConfigError, match=re.escape(told)):
        generate(*paths)
    assert paths[0].read_text() == text
    assert not paths[1].exists()


def test_a_registration_that_cannot_be_written_is_told(paths: tuple[Path, Path]) -> None:
    with pytest.raises(ConfigError, match="the same file"):
        generate(paths[0], paths[0])
    paths[1].mkdir()
    with pytest.raises(ConfigError, match="cannot be written"):
        generate(*paths)
    first = config.load_service(paths[0])
    assert not first.fresh  # the tokens were kept, and the next run goes on with them
    assert [p.name for p in paths[1].parent.iterdir() if p.name.startswith(".")] == []


def matched(user: str, regexes: list[str]) -> set[str]:
    """How Synapse and how Conduit look."""
    return {how.__name__ for r in regexes for how in (re.match, re.search) if how(r, user)}


@pytest.mark.parametrize("user", ["@memtrix:hs.test", "@memtrix_dennis:hs.test"])
def test_our_users_are_ours(user: str) -> None:
    regexes = user_regexes(Homeserver("http://a", "hs.test"), appservice())
    assert matched(user, regexes) == {"match", "search"}


@pytest.mark.parametrize(
    "user",
    [
        "@memtrix:hs.test.evil", "@memtrix_dennis:hs.test.evil", "@memtrix:hsxtest",
        "@anna:hs.test", "@memtrix_:hs.test", "@memtrixx:hs.test", "x@memtrix:hs.test",
        "@memtrix_a:b:hs.test", "@Memtrix:hs.test", "@memtrix_Dennis:hs.test", "@x@memtrix:hs.test",
    ],
)  # fmt: skip
def test_nobody_else_is_ours(user: str) -> None:
    assert not matched(user, user_regexes(Homeserver("http://a", "hs.test"), appservice()))


LOCAL = st.text("abcxyz019._=/+-", min_size=1, max_size=12)


@given(
    before=st.text("abc_.-+=/0", max_size=6),
    after=st.text("abc_.-+=/0", max_size=6),
    name=LOCAL,
    domain=st.sampled_from(
        ["hs.test", "localhost:8448", "[::1]:8448", "a-b.example.net", "10.0.0.1"]
    ),
)
def test_every_name_that_the_template_gives_is_ours(
    before: str, after: str, name: str, domain: str
) -> None:
    template = f"{before}{{name}}{after}"
    regexes = user_regexes(Homeserver("http://a", domain), appservice(username_template=template))
    user = f"@{template.format(name=name)}:{domain}"
    assert matched(user, regexes) == {"match", "search"}
    assert not matched(user + ".evil", regexes)
    # what Rust's engine lacks, and what it refuses as an escape
    assert not re.search(r"\(\?|\\[a-zA-Z0-9<>]", "".join(regexes))


@pytest.mark.parametrize("room", ["#office", "#office:hs.test"])
def test_the_management_rooms_alias_is_ours(room: str) -> None:
    regex = alias_regex(Homeserver("http://a", "hs.test"), Management(room))
    assert re.search(regex, "#office:hs.test")
    assert not re.search(regex, "#office:hs.test.evil")
    assert not re.search(regex, "#x#office:hs.test")


def test_the_registration_as_text_is_yaml(paths: tuple[Path, Path]) -> None:
    text = registration.text(config.load_service(paths[0]))
    assert YAML(typ="safe").load(text)["id"] == "memtrix"
    assert "```" not in text
