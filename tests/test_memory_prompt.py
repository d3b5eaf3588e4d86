"""The system prompt as a text: filled once, cut with measure, and what a rewrite may not lose."""

from datetime import datetime
from zoneinfo import ZoneInfo

from hypothesis import given
from hypothesis import strategies as st

from memtrix_as.memory import prompt
from memtrix_as.memory.persona import TEMPLATES, loss

texts = st.dictionaries(
    st.sampled_from(["SOUL.md", "USER.md", "MEMORY.md"]),
    st.text(alphabet="ab cä漢\n", max_size=3000),
    min_size=1,
)


def test_placeholders_are_filled_once_and_literally() -> None:
    values = {"NAME": r"\1 {{SOUL}}", "SOUL": "I am {{NAME}} {0} %s"}
    made = prompt.fill("{{NAME}}|{{SOUL}}|{{SOUL}}|{{OTHER}}|{{name}}", values)
    soul = values["SOUL"]
    assert made == rf"\1 {{{{SOUL}}}}|{soul}|{soul}|{{{{OTHER}}}}|{{{{name}}}}"


@given(texts, st.integers(-50, 2000))
def test_what_is_cut_fits_and_what_is_small_stays(texts: dict[str, str], room: int) -> None:
    fitting, cut = prompt.fit(texts, room)
    sizes = {name: prompt.tokens(text) for name, text in texts.items()}
    assert all(fitting[name] == text for name, text in texts.items() if name not in cut)
    for name in cut:
        assert "characters of" in fitting[name]
        assert all(sizes[name] >= sizes[other] for other in texts if other not in cut)
    if sum(sizes.values()) <= room:
        assert not cut
    elif room > len(texts) * prompt.FLOOR:
        assert sum(map(prompt.tokens, fitting.values())) <= room + 10 * len(texts)


def test_the_middle_goes_in_whole_lines() -> None:
    text = "\n".join(f"- fact number {n}" for n in range(200))
    fitting, cut = prompt.fit({"MEMORY.md": text, "SOUL.md": "kind"}, 300)
    lines = fitting["MEMORY.md"].splitlines()
    assert cut == ["MEMORY.md"] and fitting["SOUL.md"] == "kind"
    assert lines[0] == "- fact number 0" and lines[-1] == "- fact number 199"
    assert {line in text.splitlines() for line in lines} == {True, False}
    assert sum(line not in text.splitlines() for line in lines) == 1, "the note"


def test_within_an_hour_the_prompt_stays_the_same() -> None:
    zone = ZoneInfo("Europe/Berlin")
    early, late = (datetime(2026, 10, 25, 2, m, tzinfo=zone, fold=1) for m in (1, 59))
    assert prompt.hour(early) == prompt.hour(late)
    assert prompt.hour(early) == "Sunday, 25 October 2026, about 2 o'clock (CET)"


def test_a_rewrite_that_keeps_little_is_noticed() -> None:
    old = " ".join(f"fact{n} about the garden of number{n}." for n in range(30))
    assert loss(old, old.upper()) is None, "case is not loss"
    assert loss(old, " ".join(reversed(old.split()))) is None, "nor is order"
    assert loss(old, old[: len(old) * 2 // 3]) is None
    kept, total = loss(old, old[: len(old) // 4]) or (0, 0)
    assert 0 < kept < total / 2
    assert loss(old, "") == (0, total)
    assert loss("short " * 20, "") is None, "a short file may be written anew"
    chinese = "".join(chr(0x4E00 + n) for n in range(500))
    assert loss(chinese, chinese[:400]) is None
    assert loss(chinese, chinese[:100]) is not None


def test_the_templates_are_small_and_whole() -> None:
    found = {path.name: path.read_text() for path in TEMPLATES.iterdir()}
    assert set(found) == {"AGENT.md", "SOUL.md", "BEHAVIOR.md", "USER.md", "MEMORY.md"}
    for name in ("NAME", "SOUL", "BEHAVIOR", "USER", "MEMORY", "DATE"):
        assert found["AGENT.md"].count("{{" + name + "}}") == 1
    assert 600 < sum(map(prompt.tokens, found.values())) < 900
    for section in ("Conversations", "Learned", "Decisions", "Tasks", "Notes"):
        assert section in found["AGENT.md"]
    # The first facts replace these two; that must not need anybody's yes.
    assert loss(found["USER.md"], "") is None and loss(found["MEMORY.md"], "") is None
