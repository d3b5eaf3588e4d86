"""One question of a script, and whole conversations through pipes."""

import asyncio
from pathlib import Path

from memtrix_as.testing import ScriptedModel
from tests.rig.database import Database
from tests.rig.terminal import Installation


async def test_the_answer_is_on_stdout(installation: Installation, model: ScriptedModel) -> None:
    model.says("It is **blue**:\n\n- very\n- blue")
    code, output, errors = await installation.run("--once", "what colour?")
    assert (code, output, errors) == (0, "It is **blue**:\n\n- very\n- blue\n", "")
    assert model.requests[0].last_user == "what colour?"


async def test_the_question_is_read_from_stdin(
    installation: Installation, model: ScriptedModel
) -> None:
    code, output, _ = await installation.run("--once", "-", typed="two\nlines\n")
    assert code == 0 and output == "You said: two\nlines\n"
    code, output, errors = await installation.run("--once", "-")
    assert (code, output) == (2, "") and "no question" in errors


async def test_a_command_answers_too(installation: Installation) -> None:
    code, output, errors = await installation.run("--once", "/status")
    assert code == 0 and "**model:** test-model" in output and not errors


async def test_each_begins_afresh_and_all_is_remembered(
    installation: Installation, model: ScriptedModel
) -> None:
    model.says("Noted.", "Red.")
    await installation.run("--once", "My bicycle Rocinante is red.")
    await installation.run("--once", "Is my bicycle Rocinante red?")
    messages = [m for m in model.requests[1].messages if m["role"] != "system"]
    assert len(messages) == 1 and "My bicycle Rocinante is red." in messages[0]["content"]


async def test_what_needs_a_yes_is_denied(installation: Installation, model: ScriptedModel) -> None:
    file = installation.folder / "workspace" / "a.md"
    file.parent.mkdir(parents=True)
    file.write_text("mine")
    model.calls("delete_file", path="a.md").says("I may not.")
    code, output, errors = await installation.run("--once", "delete a.md")
    assert (code, output) == (0, "I may not.\n")
    assert "there is nobody to ask" in errors and "Denied" in errors and file.exists()


async def test_at_a_terminal_it_asks(installation: Installation, model: ScriptedModel) -> None:
    file = installation.folder / "workspace" / "a.md"
    file.parent.mkdir(parents=True)
    file.write_text("mine")
    model.calls("delete_file", path="a.md").says("Gone.")
    terminal = await installation.sit_down(
        "--once", "delete a.md", ready="Answer **yes**", prompt=False
    )
    terminal.types("maybe\ryes\r")
    await terminal.shows("Gone.")
    assert await terminal.ends() == 0 and not file.exists()


async def test_failures(installation: Installation, model: ScriptedModel) -> None:
    model.fails(401)
    code, output, errors = await installation.run("--once", "hello")
    assert code == 1 and output == "" and errors.count("\n") == 1
    installation.settings["providers"]["scripted"]["base_url"] = "http://127.0.0.1:9"
    code, output, errors = await installation.run("--once", "hello")
    assert code == 1 and output == "" and "does not answer" in errors
    assert "Traceback" not in errors


async def test_killed_ones_leave_nothing_behind(
    installation: Installation, model: ScriptedModel, database: Database
) -> None:
    model.hangs()
    child = await asyncio.create_subprocess_exec(
        *installation.command("--once", "the first"), env=installation.environment()
    )
    await model.asked(1)
    child.kill()
    await child.wait()
    model.says("Second.")
    code, output, _ = await installation.run("--once", "the second")
    assert (code, output) == (0, "Second.\n") and len(model.requests) == 2
    states = await database.fetch("select state from turns order by id")
    assert [row["state"] for row in states] == ["stopped", "done"]


async def test_lines_of_a_pipe_are_answered_one_by_one(
    installation: Installation, model: ScriptedModel
) -> None:
    file = installation.folder / "workspace" / "a.md"
    file.parent.mkdir(parents=True)
    file.write_text("mine")
    model.says("Hello.").calls("delete_file", path="a.md").says("Gone.")
    code, output, _ = await installation.run(typed="hello\ndelete it\nyes\n")
    assert code == 0 and not file.exists()
    assert output.index("Hello.") < output.index("(question ") < output.index("Gone.")


async def test_an_agent_that_is_not_there(installation: Installation) -> None:
    code, output, errors = await installation.run("--once", "hello", "--agent", "Olga")
    assert (code, output) == (1, "") and "no agent 'Olga'" in errors
    assert "Traceback" not in errors


async def test_without_a_database(installation: Installation, tmp_path: Path) -> None:
    installation.settings["appservice"]["database"] = "postgresql://memtrix@127.0.0.1:9/memtrix"
    code, output, errors = await installation.run("--once", "hello")
    assert (code, output) == (1, "") and "PostgreSQL cannot be reached" in errors
    assert "Traceback" not in errors
