"""A conversation at a real pseudo-terminal."""

from memtrix_as.testing import ScriptedModel
from tests.rig.database import Database
from tests.rig.terminal import BEN, Installation, Terminal, history
from tests.rig.waiting import eventually

CTRL_C, CTRL_D, UP = "\x03", "\x04", "\x1b[A"


async def test_a_conversation(terminal: Terminal, model: ScriptedModel) -> None:
    model.says("Hello **Ann**.", "You told me: *blue*.")
    shown = await terminal.says("hello", "Hello Ann.")
    assert "**" not in shown
    await terminal.says("what is my colour?", "You told me: blue.")
    said = [m["content"] for m in model.requests[1].messages if m["role"] != "system"]
    assert said == ["hello", "Hello **Ann**.", "what is my colour?"]
    terminal.types(CTRL_D)
    assert await terminal.ends() == 0


async def test_the_answer_is_seen_as_it_grows(terminal: Terminal, model: ScriptedModel) -> None:
    model.says(["A first part,", " and a second."], hold=True)
    await terminal.says("tell me", "is working")
    await terminal.shows("A first part, and a second.")
    assert "Memtrix\n" not in terminal.text  # it is not there for good yet
    model.release()
    await terminal.shows("Memtrix\n")
    await terminal.shows("A first part, and a second.")


async def test_what_is_typed_meanwhile_is_the_next_message(
    terminal: Terminal, model: ScriptedModel
) -> None:
    model.says("One.", hold=True).says("Two.")
    await terminal.says("first", "One.")
    terminal.types("second\r")
    model.release()
    await terminal.shows("Memtrix\nTwo.")
    said = [m["content"] for m in model.requests[1].messages if m["role"] != "system"]
    assert said == ["first", "One.", "second"]


async def test_ctrl_c_stops_the_answer(terminal: Terminal, model: ScriptedModel) -> None:
    model.says("Half a sent", hold=True).says("Back again.")
    await terminal.says("go on for long", "Half a sent")
    terminal.types(CTRL_C)
    await terminal.shows("Stopped.")
    await terminal.shows("Half a sent")
    await terminal.shows("(broken off)")
    await model.wait_for_disconnects(1)
    await terminal.says("are you there?", "Back again.")


async def test_ctrl_c_at_the_prompt_clears_the_line(
    terminal: Terminal, model: ScriptedModel
) -> None:
    model.says("Fine.")
    terminal.types("not this")
    await terminal.shows("> not this")
    terminal.types(CTRL_C)
    await terminal.until(lambda: "not this" not in terminal.text, "an empty line")
    await terminal.says("but this", "Fine.")
    assert model.requests[0].last_user == "but this"


async def test_ctrl_d_stops_what_runs(
    installation: Installation, model: ScriptedModel, database: Database
) -> None:
    terminal = await installation.sit_down()
    model.says("Half a sent", hold=True)
    await terminal.says("go on for long", "Half a sent")
    terminal.types(CTRL_D)
    await terminal.shows("What was under way is stopped.")
    assert await terminal.ends() == 0
    assert [row["state"] for row in await database.fetch("select state from turns")] == ["stopped"]
    again = await installation.sit_down()
    model.says("A new one.")
    shown = await again.says("hello", "A new one.")
    assert "Half" not in shown


async def test_commands(terminal: Terminal, model: ScriptedModel) -> None:
    model.calls("get_current_time").says("Late.")
    await terminal.says("/help", "/clear")
    await terminal.says("/verbose on", "From now on I show the tools I use.")
    await terminal.says("what time is it?", "get_current_time")
    await terminal.shows("Late.")
    assert "4 messages" in await terminal.says("/status", "version")
    await terminal.says("/clear", "A fresh conversation begins")
    await terminal.says("/leave", "Goodbye.")
    assert await terminal.ends() == 0


async def test_the_history_is_kept_for_its_human_alone(
    installation: Installation, model: ScriptedModel
) -> None:
    first = await installation.sit_down()
    model.says("One.", "Two.")
    await first.says("remember this line", "One.")
    first.types(CTRL_D)
    await first.ends()
    file = history(installation.folder)
    assert file.stat().st_mode & 0o777 == 0o600 and file.parent.stat().st_mode & 0o777 == 0o700
    second = await installation.sit_down()
    second.types(UP)
    await second.shows("remember this line")
    second.types("\r")
    await second.shows("Two.")
    assert model.requests[1].last_user == "remember this line"


async def test_whoever_sits_there_is_told_apart(
    installation: Installation, model: ScriptedModel, database: Database
) -> None:
    terminal = await installation.sit_down("--as", BEN, ready=f"Memtrix, as {BEN}.")
    model.says("Hello Ben.")
    await terminal.says("hello", "Hello Ben.")
    assert [row["people"] for row in await database.fetch("select people from turns")] == [[BEN]]


async def test_nothing_that_a_model_says_moves_the_cursor(
    terminal: Terminal, model: ScriptedModel
) -> None:
    model.says("Look: \x1b]0;mine\x07 and \x1b[2J gone.")
    await terminal.says("hello", "gone.")
    assert b"\x1b]0;mine" not in terminal.raw and b"\x1b[2J" not in terminal.raw


async def test_two_terminals_have_conversations_of_their_own(
    installation: Installation, model: ScriptedModel
) -> None:
    first, second = await installation.sit_down(), await installation.sit_down()
    model.on("one").says("First.")
    model.on("two").says("Second.")
    await second.says("two", "Second.")
    await first.says("one", "First.")
    assert "Second." not in first.text and "First." not in second.text


async def test_killed_in_the_middle_it_goes_on(
    installation: Installation, model: ScriptedModel, database: Database
) -> None:
    first = await installation.sit_down()
    model.says("Half an ans", hold=True).says("The whole answer.", "Another.")
    await first.says("a question", "Half an ans")
    await first.kill9()
    model.release()
    second = await installation.sit_down()
    await second.shows("Going on with what was interrupted.")
    await second.shows("Memtrix\nThe whole answer.")
    await second.says("and now?", "Another.")
    assert second.text.count("Memtrix\nThe whole answer.") == 1
    await second.kill9()
    third = await installation.sit_down()
    model.says("The last.")
    await third.says("hello", "The last.")
    assert "whole" not in third.text and "Half" not in third.text

    async def settled() -> bool:
        rows = await database.fetch("select text from outbox where kind = 'text' order by id")
        return [row["text"] for row in rows] == ["The whole answer.", "Another.", "The last."]

    assert await eventually(settled, "three answers")


async def test_a_closed_window_leaves_it_undone(
    installation: Installation, model: ScriptedModel, database: Database
) -> None:
    first = await installation.sit_down()
    model.says("Half an ans", hold=True).says("The whole answer.")
    await first.says("a question", "Half an ans")
    assert await first.hangs_up() == 129
    assert b"\x1b[?2004l" in first.raw  # the terminal is as it was
    second = await installation.sit_down()
    await second.shows("Memtrix\nThe whole answer.")
