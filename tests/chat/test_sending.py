"""Files and emoji that an agent puts into its room: what is shown, and what is refused."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from memtrix_as.documents import avatar
from memtrix_as.testing import ScriptedModel
from tests.chat.test_tools import results
from tests.rig import pictures
from tests.rig.api import Json
from tests.rig.chat import Chat
from tests.rig.door import Call, Door
from tests.rig.modes import only
from tests.rig.papers import pdf
from tests.rig.service import Process, Service
from tests.rig.stage import Stage
from tests.rig.timeline import Answer

UPLOAD = "POST /_matrix/media/v3/upload"


def uploads(door: Door) -> list[Call]:
    """What was uploaded, besides the agent's own picture."""
    return [c for c in door.seen(UPLOAD) if c.body != avatar.draw(c.user_id or "")]


FAMILY, FLAG, KEYCAP = "👨‍👩‍👧‍👦", "🏴󠁧󠁢󠁥󠁮󠁧󠁿", "1️⃣"


@pytest.fixture
async def small(stopped: Service, stage: Stage) -> AsyncIterator[Chat]:
    """A chat with a service that sends files of up to one megabyte."""
    stopped.set("tools.send_size", 1)
    await stopped.start()
    yield await stage.chat()


def put(service: Service, path: str, data: bytes) -> bytes:
    file = service.folder / "workspace" / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(data)
    return data


def files(chat: Chat) -> list[Answer]:
    return [said for said in chat.said() if said.msgtype not in ("m.text", "m.notice")]


async def fetched(chat: Chat, url: str) -> tuple[bytes, str]:
    """What the homeserver gives for an mxc URI, and as what."""
    api, path = chat.human.api, url.removeprefix("mxc://")
    address = f"{api.base}/_matrix/client/v1/media/download/{path}"
    headers = {"Authorization": f"Bearer {api.token}"}
    async with api.http.get(address, headers=headers) as answer:
        assert answer.status == 200
        return await answer.read(), answer.content_type


async def sent(chat: Chat, model: ScriptedModel, *calls: tuple[str, Json]) -> list[str]:
    """Have the model make these calls, one after the other; what it was told of each."""
    before = len(model.requests)
    for name, arguments in calls:
        model.calls(name, **arguments)
    model.says("Done.")
    assert await chat.ask("send it") == "Done."
    assert len(model.requests) == before + len(calls) + 1
    return results(model)[-len(calls) :]


async def test_a_file_comes_as_it_is_before_the_words(
    chat: Chat, service: Service, model: ScriptedModel
) -> None:
    data = put(service, "notes/plan (1).md", b"# Plan\n\nBuy milk.")
    told = await sent(
        chat, model, ("send_file", {"path": "notes/plan (1).md", "caption": "The **plan**."})
    )
    assert told == ["Sent plan (1).md (text/markdown, 17 bytes) into the room."]
    file, words = chat.said()
    assert words.text == "Done." and file.sender == chat.agent
    assert file.content["msgtype"] == "m.file" and file.content["body"] == "The **plan**."
    assert file.content["filename"] == "plan (1).md" and "<strong>plan</strong>" in file.html
    assert file.content["info"] == {"mimetype": "text/markdown", "size": 17}
    assert await fetched(chat, file.content["url"]) == (data, "text/markdown")
    model.says("A list.")
    await chat.send("what is that?", reply_to=file.event_id)
    assert await chat.reply() == "A list."
    asked = str(model.requests[-1].messages[-1]["content"])
    assert "The **plan**." in asked and "[file: plan (1).md]" in asked


@only("direct")
async def test_every_kind_is_known_by_its_bytes(
    chat: Chat, service: Service, model: ScriptedModel
) -> None:
    kinds = [
        ("a.png", pictures.image((90, 60)), "m.image", "image/png"),
        ("b.dat", pictures.image((90, 60), "JPEG"), "m.image", "image/jpeg"),
        ("c.webp", pictures.image((90, 60), "WEBP"), "m.image", "image/webp"),
        ("d.png", pictures.image((90, 60), "GIF"), "m.image", "image/gif"),
        ("e.png", pictures.image((1, 1)), "m.image", "image/png"),
        ("f.jpg", pdf("On paper."), "m.file", "application/pdf"),
        ("g.mp3", pictures.MP3, "m.audio", "audio/mpeg"),
        ("h.txt", "größer".encode(), "m.file", "text/plain"),
    ]
    more = [
        ("i.png", pictures.SVG, "m.file", "image/svg+xml"),
        ("j.wav", pictures.sound(), "m.audio", "audio/wav"),
        ("k.mp4", b"\0\0\0\x18ftypisom" + bytes(40), "m.video", "video/mp4"),
        ("l.png", bytes(range(256)), "m.file", "application/octet-stream"),
        ("m.html", b"<!DOCTYPE html><p>hi", "m.file", "text/html"),
    ]
    for group in (kinds, more):
        for name, data, *_ in group:
            put(service, name, data)
        before = len(files(chat))
        await sent(chat, model, *(("send_file", {"path": name}) for name, *_ in group))
        for file, (name, data, msgtype, mimetype) in zip(files(chat)[before:], group, strict=True):
            assert (file.msgtype, file.text, file.content["filename"]) == (msgtype, name, name)
            info = {"mimetype": mimetype, "size": len(data)}
            size = (1, 1) if name == "e.png" else (90, 60)
            if msgtype == "m.image":
                info |= {"w": size[0], "h": size[1]}
            assert file.content["info"] == info
            assert await fetched(chat, file.content["url"]) == (data, mimetype)


@only("direct")
async def test_a_large_image_has_a_thumbnail(
    chat: Chat, service: Service, model: ScriptedModel
) -> None:
    put(service, "photo.jpg", pictures.image((1600, 800), "JPEG", noise=True))
    await sent(chat, model, ("send_file", {"path": "photo.jpg"}))
    info = files(chat)[0].content["info"]
    assert (info["w"], info["h"]) == (1600, 800)
    assert (info["thumbnail_info"]["w"], info["thumbnail_info"]["h"]) == (640, 320)
    data, kind = await fetched(chat, info["thumbnail_url"])
    assert kind == "image/jpeg" == info["thumbnail_info"]["mimetype"]
    assert len(data) == info["thumbnail_info"]["size"] <= 100_000


@only("direct")
async def test_what_no_client_should_show_is_a_plain_file(
    chat: Chat, service: Service, model: ScriptedModel
) -> None:
    put(service, "broken.png", pictures.image((90, 60), noise=True)[:500])
    put(service, "bomb.png", pictures.bomb(20_000))
    told = await sent(
        chat, model, ("send_file", {"path": "broken.png"}), ("send_file", {"path": "bomb.png"})
    )
    assert all("damaged or too large for an image" in text for text in told)
    for file in files(chat):
        assert file.msgtype == "m.file" and set(file.content["info"]) == {"mimetype", "size"}
        assert file.content["info"]["mimetype"] == "application/octet-stream"


@only("direct")
async def test_what_is_not_the_agents_to_send_is_refused(
    chat: Chat, service: Service, model: ScriptedModel, door: Door
) -> None:
    secret = service.folder / "secret.txt"
    secret.write_text("4711")
    put(service, "empty.txt", b"")
    put(service, "plan.md", b"x")
    (service.folder / "workspace" / "link").symlink_to("../secret.txt")
    refused: list[tuple[Json, str]] = [
        ({"path": "../secret.txt"}, ".. in it"),
        ({"path": str(secret)}, "absolute"),
        ({"path": "link"}, "link"),
        ({"path": "USER.md"}, "core file"),
        ({"path": "\uff4demory/2026-01-01.md"}, "journals"),
        ({"path": "."}, "names no file"),
        ({"path": "gone.txt"}, "list_directory"),
        ({"path": "empty.txt"}, "empty"),
        ({"path": "plan.md", "caption": "x" * 2001}, "at most 2000"),
    ]
    told = await sent(chat, model, *(("send_file", arguments) for arguments, _ in refused))
    for text, (_, why) in zip(told, refused, strict=True):
        assert why in text
    assert not files(chat) and not uploads(door)


@only("direct")
async def test_over_the_cap_nothing_is_even_uploaded(
    small: Chat, stopped: Service, model: ScriptedModel, door: Door
) -> None:
    put(stopped, "big.bin", bytes(1_000_001))
    put(stopped, "fits.bin", bytes(1_000_000))
    told = await sent(
        small, model, ("send_file", {"path": "big.bin"}), ("send_file", {"path": "fits.bin"})
    )
    assert told[0] == "big.bin has 1000001 bytes; files of up to 1000000 bytes can be sent here."
    assert [file.text for file in files(small)] == ["fits.bin"]
    assert len(uploads(door)) == 1


@only("direct")
async def test_the_homeservers_own_cap_holds_too(
    chat: Chat, service: Service, model: ScriptedModel, door: Door
) -> None:
    put(service, "plan.md", b"x" * 2000)
    door.refuse("GET .*/media/config", 200, {"m.upload.size": 1000}, times=1)
    told = await sent(chat, model, ("send_file", {"path": "plan.md"}))
    assert "files of up to 1000 bytes" in told[0] and not uploads(door)


@only("direct")
@pytest.mark.parametrize(
    "status, errcode, why",
    [
        (413, "M_TOO_LARGE", "takes no file of 1 bytes"),
        (429, "M_LIMIT_EXCEEDED", "Wait a minute"),
        (500, "M_UNKNOWN", r"could not take the file (500)"),
        (403, "M_FORBIDDEN", "did not take the file"),
    ],
)
async def test_a_refused_upload_is_told_in_words(
    chat: Chat, service: Service, model: ScriptedModel, door: Door,
    status: int, errcode: str, why: str,
) -> None:  # fmt: skip
    put(service, "plan.md", b"x")
    door.refuse(UPLOAD, status, {"errcode": errcode, "error": "no"}, times=1)
    call: tuple[str, Json] = ("send_file", {"path": "plan.md"})
    told = await sent(chat, model, call, call)
    assert why in told[0] and told[1].startswith("Sent plan.md")
    assert len(files(chat)) == 1


@only("direct")
async def test_without_its_thumbnail_an_image_goes_all_the_same(
    chat: Chat, service: Service, model: ScriptedModel, door: Door
) -> None:
    put(service, "photo.jpg", pictures.image((900, 900), "JPEG"))

    uploads = iter(range(9))
    door.hold(lambda call: call.matches(UPLOAD) and next(uploads) == 1).drop()
    await sent(chat, model, ("send_file", {"path": "photo.jpg"}))
    info = files(chat)[0].content["info"]
    assert info["w"] == 900 and "thumbnail_url" not in info


@only("direct")
async def test_the_same_file_goes_once_a_turn_and_not_too_many(
    chat: Chat, service: Service, model: ScriptedModel
) -> None:
    service.set("limits.tool_rounds", 20)
    await service.restart()
    for number in range(11):
        put(service, f"{number}.txt", str(number).encode())
    first: tuple[str, Json] = ("send_file", {"path": "0.txt"})
    calls = [("send_file", {"path": f"{n}.txt"}) for n in range(11)]
    told = await sent(chat, model, first, *calls, first)
    assert "You have sent 10 files" in told[11] and told[12].startswith("Sent 0.txt")
    assert [file.text for file in files(chat)] == [f"{n}.txt" for n in range(10)]


@only("direct")
async def test_a_file_stays_in_the_thread(
    chat: Chat, service: Service, model: ScriptedModel
) -> None:
    put(service, "plan.md", b"x")
    model.says("Root.")
    root = await chat.send("a topic")
    await chat.reply()
    model.calls("send_file", path="plan.md")
    model.says("There.")
    await chat.send("the plan?", thread=root)
    assert await chat.reply() == "There."
    assert files(chat)[0].thread == root


@only("direct")
async def test_a_withdrawn_message_takes_its_file_and_emoji_along(
    chat: Chat, service: Service, model: ScriptedModel
) -> None:
    put(service, "plan.md", b"x")
    model.calls("react_to_message", emoji="👍")
    model.calls("send_file", path="plan.md")
    model.says("cut", hold=True)
    asked = await chat.send("send me the plan")
    await chat.until(lambda: bool(files(chat)), "the file")
    await chat.redact(asked)
    await chat.until(lambda: not files(chat), "the file to go")
    emoji = chat.events("m.reaction")[0]["event_id"]

    def taken_back() -> bool:
        gone = [str(e["content"]) + str(e.get("redacts")) for e in chat.events("m.room.redaction")]
        return emoji in "".join(gone)

    await chat.until(taken_back, "the emoji to go")
    model.release()


@pytest.mark.parametrize("answers", [False, True])
@only("direct")
async def test_killed_between_upload_and_send(
    process: Process, stage: Stage, model: ScriptedModel, door: Door, answers: bool
) -> None:
    chat = await stage.chat()
    put(process, "plan.md", b"x")

    def file(call: Call) -> bool:
        return call.matches("PUT .*/send/m.room.message/") and call.json["msgtype"] == "m.file"

    held = door.hold(file, answers=answers)
    model.calls("send_file", path="plan.md")
    model.says("There.")
    await chat.send("the plan?")
    await door.catches(held)
    await process.kill9()
    held.drop()
    door.heal()
    await process.start()
    assert await chat.reply() == "There."
    model.says("And that is all.")
    assert await chat.ask("anything else?") == "And that is all."
    assert [said.text for said in chat.said()] == ["plan.md", "There.", "And that is all."]


@pytest.mark.parametrize("what", ["upload", "row"])
@only("direct")
async def test_killed_while_a_file_is_sent(
    process: Process, stage: Stage, model: ScriptedModel, door: Door, what: str
) -> None:
    """With the upload under way, and with the file in the outbox but the call unanswered."""
    chat = await stage.chat()
    put(process, "plan.md", b"x")
    held = door.hold(UPLOAD, answers=True)
    model.calls("send_file", path="plan.md")
    model.says("There.")
    await chat.send("the plan?")
    await door.catches(held)
    if what == "row":
        await stage.database.fetch(
            "create function slow() returns trigger language plpgsql as "
            "$$ begin perform pg_sleep(3600); return new; end $$"
        )
        await stage.database.fetch(
            "create trigger slow before insert on messages for each row "
            "when (new.role = 'tool') execute function slow()"
        )
        held.release()
        await chat.until(lambda: bool(files(chat)), "the file")
    await process.kill9()
    held.drop()
    door.heal()
    if what == "row":
        await stage.database.fetch(
            "select pg_terminate_backend(pid) from pg_stat_activity "
            "where wait_event = 'PgSleep' and pid <> pg_backend_pid()"
        )
        await stage.database.fetch("drop function slow cascade")
    await process.start()
    assert await chat.reply() == "There."
    assert results(model) == ["Sent plan.md (text/markdown, 1 bytes) into the room."]
    assert [said.text for said in chat.said()] == ["plan.md", "There."]


async def test_an_emoji_stands_on_the_message_once(chat: Chat, model: ScriptedModel) -> None:
    model.calls("react_to_message", emoji="👍")
    model.calls("react_to_message", emoji=" 👍 ")
    model.says("Done.")
    asked = await chat.send("nod")
    assert await chat.reply() == "Done."
    mine = [e for e in chat.events("m.reaction") if e["sender"] == chat.agent]
    assert [e["content"]["m.relates_to"] for e in mine] == [
        {"rel_type": "m.annotation", "event_id": asked, "key": "👍"}
    ]


@only("direct")
async def test_one_emoji_is_one_emoji_in_any_script(chat: Chat, model: ScriptedModel) -> None:
    good = [FAMILY, FLAG, KEYCAP]
    bad = ["", "ok", "👍👍", ":thumbsup:", "a", "7", "é", "👍\n", "👍" + "\u0301" * 40, "字"]
    calls = [("react_to_message", {"emoji": sign}) for sign in bad[:6]]
    assert all("one emoji" in text for text in await sent(chat, model, *calls))
    calls = [("react_to_message", {"emoji": sign}) for sign in (*bad[8:], *good, "🎉")]
    *told, last = await sent(chat, model, *calls)
    assert all("one emoji" in text for text in told[:2])
    assert "that is enough" in last
    mine = [e["content"]["m.relates_to"]["key"] for e in chat.events("m.reaction")]
    assert mine == good


@only("direct")
async def test_a_reaction_that_is_there_already_is_no_error(
    chat: Chat, model: ScriptedModel, door: Door
) -> None:
    duplicate: dict[str, Any] = {"errcode": "M_DUPLICATE_ANNOTATION", "error": "again"}
    door.refuse("PUT .*/send/m.reaction/", 400, duplicate, times=1)
    assert await sent(chat, model, ("react_to_message", {"emoji": "👍"})) == ["Reacted with 👍."]
    assert not chat.notices()
