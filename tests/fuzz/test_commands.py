"""What an administrator types: a command, or a sentence that says what to type instead."""

from hypothesis import given
from hypothesis import strategies as st

from memtrix_as.admin import words
from memtrix_as.admin.commands import COMMANDS
from memtrix_as.agent import commands as chat_commands
from memtrix_as.errors import AdminError
from memtrix_as.testing import ScriptedModel
from tests.chat.conftest import *  # noqa: F403
from tests.chat.test_port import message
from tests.fuzz.junk import TEXTS, tries
from tests.rig.chat import Chat
from tests.rig.modes import only
from tests.rig.service import Service
from tests.rig.waiting import PATIENCE

# what would end the test, or ask the homeserver for long
LEFT_OUT = {"backup", "restart", "stop", "reindex"}
NAMES = sorted(name for name in COMMANDS if not LEFT_OUT & set(name.split()))
PARTS = st.sampled_from(
    ["memtrix", "my-model", "nobody", "on", "off", "all", "yes", "no", "-1", "0", "9" * 400, "1e9",
     '"', '"two words"', "“", "`", "**", "@ann:hs.test", "!room", "2026-13-45", "%s", "{name}",
     "../../x", "$1", "';--", "<b>", "\\", "x" * 300]
)  # fmt: skip
LINES = st.builds(
    lambda name, parts, mark: f"{mark}{name} {' '.join(parts)}",
    st.sampled_from(NAMES) | TEXTS,
    st.lists(PARTS | TEXTS, max_size=5),
    st.sampled_from(["", "/", "!", "memtrix: ", "` "]),
)
# what an agent's human types in a room; `/leave` would end the test
CHAT = [*sorted(set(chat_commands.COMMANDS) - {"leave"}), "yes", "no", "always", "nobody"]
WORDS = st.sampled_from(
    ["on", "OFF", "help", "show", "undo", "diff", "history", "set", "AGENT.md", "SOUL.md 0",
     "SOUL.md " + "9" * 30, "-1", "\n", "\0", "{{USER}}", "../AGENT.md", "forget", "all", "1"]
)  # fmt: skip
TYPED = st.builds(
    lambda mark, name, gap, parts: f"{mark}{name}{gap}{' '.join(parts)}",
    st.sampled_from(["/", "!", " /", "//", "/ ", "Memtrix: /", "@memtrix /"]),
    st.sampled_from(CHAT) | TEXTS,
    st.sampled_from([" ", "\n", "  ", "", "\u00a0"]),
    st.lists(WORDS | PARTS | TEXTS, max_size=4),
)
MOST = 360  # lines in a row
LINE = 0.5  # seconds; a line takes some 60 ms, however many stand before it, most in Synapse


@tries(400)
@given(LINES)
def test_any_line_is_a_command_or_a_sentence(text: str) -> None:
    try:
        line = words.split(text)
        if line.words:
            command = COMMANDS.find(line)
            assert len(command.bind(line)) == len(command.parameters)
    except AdminError as exc:
        assert str(exc) and len(str(exc)) < 2000


@only("direct")
async def test_after_any_lines_a_command_is_answered(
    office: Chat, stopped: Service, model: ScriptedModel
) -> None:
    lines: list[str] = []

    @tries(60)
    @given(LINES)
    def collect(text: str) -> None:
        lines.append(text)

    collect()
    model.by_default("a draft")
    lines = lines[-MOST:]
    events = [message(office, f"$line{n}", text) for n, text in enumerate(lines)]
    assert (await stopped.put("lines", {"events": events}))[0] == 200
    await office.send("version-of-nothing")
    await office.until(
        lambda: (
            any(
                "version-of-nothing" in str(e["content"]) and e["sender"] == office.agent
                for e in office.events("m.room.message")
            )
            or None
        ),
        "the answer to the line behind them",
        timeout=PATIENCE + len(lines) * LINE,
    )


@only("direct")
async def test_after_any_chat_commands_a_message_is_answered(
    chat: Chat, service: Service, model: ScriptedModel
) -> None:
    lines: list[str] = []

    @tries(40)
    @given(TYPED)
    def collect(text: str) -> None:
        lines.append(text)

    collect()
    model.by_default("an answer")
    lines = lines[-MOST:]
    events = [message(chat, f"$typed{n}", text) for n, text in enumerate(lines)]
    assert (await service.put("typed", {"events": events}))[0] == 200
    await chat.send("the message behind them")
    await chat.until(
        lambda: any("the message behind them" in r.last_user for r in model.requests) or None,
        "the message behind them to reach the model",
        timeout=PATIENCE + len(lines) * LINE,
    )
    assert not any("Something went wrong inside me" in notice for notice in chat.notices())
