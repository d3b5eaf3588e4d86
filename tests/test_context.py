"""What a model is shown: nothing torn apart, nothing over the budget."""

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from memtrix_as.agent import context
from memtrix_as.db.sessions import Session, Stored, in_order
from memtrix_as.messages import Incoming, Message, Place, ToolCall

SYSTEM = Message("system", "Be kind.")


def turn(number: int, calls: int, answered: int) -> list[Message]:
    """A human's words, a round of tools (of which some have results), an answer."""
    made = [Message("user", f"question {number} " * 5)]
    if calls:
        asked = tuple(ToolCall(f"c{n}", "look") for n in range(calls))
        made.append(Message("assistant", calls=asked))
        made += [Message("tool", "seen", call_id=f"c{n}") for n in range(min(answered, calls))]
    return [*made, Message("assistant", f"answer {number} " * 10)]


turns = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=12)


def session(shapes: list[tuple[int, int]], drop: int = 0) -> Session:
    said = [(number, m) for number, shape in enumerate(shapes) for m in turn(number, *shape)]
    messages = [Stored(at, number, context.tokens(m), m) for at, (number, m) in enumerate(said)]
    return Session(1, "", tuple(messages[min(drop, len(messages) - 1) :]), drop == 0)


@given(turns, st.integers(0, 20))
def test_calls_and_results_stay_together(shapes: list[tuple[int, int]], drop: int) -> None:
    prompt = context.fit(session(shapes, drop), SYSTEM, 10_000).messages
    open_calls: list[str] = []
    for message in prompt:
        if message.role == "tool":
            open_calls.remove(message.call_id or "")  # a result without its call would raise
        else:
            assert not open_calls, "a call has no result before the next message"
            open_calls = [call.id for call in message.calls]
    assert prompt[0] == SYSTEM and all(m.role != "system" for m in prompt[1:])
    assert len(prompt) == 1 or prompt[1].role == "user"


def test_calls_at_the_very_end_are_left_to_be_run() -> None:
    asked = Message("assistant", calls=(ToolCall("c", "look"),))
    messages = [Message("user", "look"), asked]
    assert context.whole(messages) == messages
    told = context.whole([*messages, Message("user", "well?")])
    assert told[2].role == "tool" and told[2].failed and told[2].call_id == "c"


@given(turns, st.integers(50, 3000))
def test_condensing_takes_whole_turns_from_the_front(
    shapes: list[tuple[int, int]], limit: int
) -> None:
    stored = list(session(shapes).messages)
    older = context.to_condense(stored, limit)
    assert older == stored[: len(older)]
    rest = stored[len(older) :]
    assert not rest or rest[0].message.role == "user"
    assert sum(s.tokens for s in rest) <= context.KEEP_SHARE * limit


@given(st.text(alphabet="ab cä漢\n", min_size=1, max_size=3000), st.integers(20, 400))
def test_a_text_that_is_too_long_loses_its_middle_and_says_so(text: str, limit: int) -> None:
    message = Message("user", text)
    if context.tokens(message) <= limit:
        return
    cut = context.shortened(message, limit)
    assert "characters left out" in cut.text
    assert context.tokens(cut) <= limit + 20  # the note itself
    assert cut.text[0] == text[0] or cut.text.startswith("\n[")


def test_a_summary_stands_before_what_is_left() -> None:
    kept = session([(0, 0)])
    prompt = context.fit(Session(1, "They like boats.", kept.messages, True), SYSTEM, 1000)
    assert prompt.messages[0].text.startswith("Be kind.")
    assert "They like boats." in prompt.messages[0].text
    assert not prompt.crowded


def test_a_crowded_session_is_noticed() -> None:
    kept = session([(0, 0)] * 5)
    used = sum(s.tokens for s in kept.messages)
    assert context.fit(kept, SYSTEM, used).crowded
    assert not context.fit(kept, SYSTEM, used * 2).crowded
    assert context.fit(session([(0, 0)], drop=1), SYSTEM, 10_000).crowded


def test_what_a_human_says_comes_with_what_it_replies_to_and_who_says_it() -> None:
    said = Incoming("$1", Place("!r", "memtrix"), "@ann:hs", "yes", datetime.now(UTC))
    assert context.said(said, speaker=None, quoted=None).text == "yes"
    told = context.said(said, speaker="Ann", quoted="Shall I?\nReally?").text
    assert told == "> Shall I?\n> Really?\nAnn: yes"


def test_condensing_takes_nothing_that_it_does_not_sum_up() -> None:
    """Among agents turns of one session overlap: the first to begin may be the last to end."""
    words, answer = Message("user", "word " * 40), Message("assistant", "word " * 40)
    rows = [(1, 1, words), (3, 2, words), (4, 2, answer), (9, 1, answer), (10, 3, words)]
    stored = [Stored(i, t, context.tokens(m), m) for i, t, m in rows]
    ordered = in_order(stored, 0)
    limit = int(3.5 * stored[0].tokens / context.KEEP_SHARE)
    older = context.to_condense(ordered, limit)
    upto = max((s.id for s in older), default=0)
    assert all(s.id > upto for s in ordered if s not in older)
