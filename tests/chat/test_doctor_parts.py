"""The doctor with models, search, tools, files or the configuration broken."""

import os
import shutil
import sys
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from memtrix_as.doctor import command
from memtrix_as.local.child import spawn
from memtrix_as.local.ports import free_port
from memtrix_as.testing import ScriptedModel
from tests.rig.embeddings import EmbeddingServer, model_path
from tests.rig.modes import only
from tests.rig.patient import ROOT, Patient, Somebody
from tests.rig.searxng import Pages, Searxng
from tests.rig.service import Service
from tests.rig.settings import DOMAIN, MODEL

pytestmark = only("direct")
PROVIDER = "provider scripted"


@pytest.fixture
def patient(stopped: Service, model: ScriptedModel) -> Patient:
    return Patient(stopped, model)


# --- models --------------------------------------------------------------------------------------


async def test_no_provider(patient: Patient) -> None:
    await patient.model.stop()
    await patient.fault(PROVIDER, says="does not answer", fix="providers.scripted.base_url")


async def test_a_key_that_the_provider_refuses(patient: Patient) -> None:
    async with Somebody(401, {"error": {"message": "no such key: sk-or-v1-abcdef"}}) as somebody:
        patient.set("providers.scripted.base_url", somebody.url)
        found = await patient.fault(PROVIDER, says="api_key", fix="providers.scripted.api_key")
    assert "abcdef" not in found.found


async def test_a_key_that_is_refused_with_the_first_question(patient: Patient) -> None:
    """OpenRouter tells its models to everybody."""
    patient.model.fails(401)
    await patient.fault(f"model {MODEL}", says="api_key", fix="providers.scripted.api_key")


async def test_a_model_that_is_not_there(patient: Patient) -> None:
    patient.set(f"models.{MODEL}.model", "scriptod")
    await patient.fault(f"model {MODEL}", says="does not offer scriptod", fix="such as scripted")


async def test_an_ollama_without_the_model(patient: Patient) -> None:
    patient.set("providers.scripted", {"type": "ollama", "base_url": patient.model.url})
    patient.set(f"models.{MODEL}.model", "llama9")
    await patient.fault(f"model {MODEL}", says="llama9", fix="ollama pull llama9")


async def test_a_model_that_fails(patient: Patient) -> None:
    patient.model.fails(402)
    await patient.fault(f"model {MODEL}", says="quota or the credit", fix="add credit")


async def test_a_context_that_is_too_long(patient: Patient) -> None:
    patient.set("providers.scripted", {"type": "ollama", "base_url": patient.model.url})
    patient.set(f"models.{MODEL}.context", 32_768)
    patient.model.ollama.trained_context = 8192
    await patient.fault(
        f"context of {MODEL}", says="32,768", fix=f"set models.{MODEL}.context to 8192"
    )


async def test_a_context_that_is_very_small(patient: Patient) -> None:
    patient.set(f"models.{MODEL}.context", 1024)
    await patient.fault(
        f"context of {MODEL}", says="1,024", fix=f"models.{MODEL}.context to 4096", state="warn"
    )


async def test_models_are_not_asked_when_they_may_not(patient: Patient) -> None:
    patient.set("embeddings.model", model_path())
    found = await patient.found(calls=False)
    assert not [each for each in found if each.state != "ok"], found
    assert not patient.model.requests


# --- embeddings and search -----------------------------------------------------------------------


async def test_embeddings(patient: Patient, embeddings: EmbeddingServer) -> None:
    patient.service.settings["embeddings"] = embeddings.settings
    found = {each.check: each for each in await patient.found()}
    assert found["embeddings"].state == "ok" and "384 dimensions" in found["embeddings"].found


async def test_no_folder_with_embeddings(patient: Patient) -> None:
    patient.set("embeddings.model", "./nowhere")
    await patient.fault("embeddings", says="there is no folder", fix="embeddings.model")


async def test_no_library_for_a_model_of_our_own(
    patient: Patient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after the quick start: words are searched, so nothing is broken."""
    monkeypatch.setitem(sys.modules, "sentence_transformers", None)
    patient.set("embeddings.model", "nomic-ai/nomic-embed-text-v1.5")
    await patient.fault(
        "embeddings", says="Words are searched", fix="pip install", state="warn"
    )  # fmt: skip
    assert await patient.faults() == []


async def test_no_server_with_embeddings(patient: Patient) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    patient.service.settings["embeddings"] = {"model": "any", "base_url": url}
    await patient.fault("embeddings", says="cannot be reached", fix="embeddings.base_url")


@pytest.fixture
async def closed(http: aiohttp.ClientSession, tmp_path: Path) -> AsyncIterator[Searxng]:
    """A SearXNG as it comes: without JSON."""
    server = Searxng(tmp_path / "searxng", Pages(), "demo", formats=["html"])
    await server.start(http)
    yield server
    await server.stop()


async def test_a_search_engine_without_json(patient: Patient, closed: Searxng) -> None:
    patient.set("search.searxng_url", closed.url)
    await patient.fault("web search", says="JSON (403)", fix="search.formats")


async def test_no_search_engine(patient: Patient) -> None:
    patient.set("search.searxng_url", f"http://127.0.0.1:{free_port()}")
    await patient.fault("web search", says="no SearXNG answers", fix="start SearXNG")


# --- what others wrote ---------------------------------------------------------------------------


async def test_a_broken_tool(patient: Patient) -> None:
    folder = patient.service.folder / "tools"
    folder.mkdir()
    (folder / "dice.py").write_text("print('hello from a tool')\nimport nowhere_at_all\n")
    patient.set("tools.directories", [str(folder)])
    await patient.fault("tools", says="dice.py: ModuleNotFoundError", fix="mend the file")
    code, told = await patient.json("--no-model-calls")  # what it prints is not in the way
    assert code == 1 and not told["ok"]


async def test_a_broken_provider(patient: Patient) -> None:
    folder = patient.service.folder / "providers"
    folder.mkdir()
    (folder / "mine.py").write_text("def\n")
    patient.set("provider_directories", [str(folder)])
    await patient.fault(
        "provider files", says="mine.py: SyntaxError", fix="provider_directories", state="warn"
    )


async def test_a_tool_that_hangs_does_not_hold_it_up(patient: Patient) -> None:
    folder = patient.service.folder / "tools"
    folder.mkdir()
    (folder / "slow.py").write_text("import time\ntime.sleep(100)\n")
    patient.set("tools.directories", [str(folder)])
    code, told = await patient.json("--no-model-calls")
    broken = [each for each in told["checks"] if each["state"] == "fail"]
    assert code == 1 and [each["check"] for each in broken] == ["tools"]
    assert "hangs" in broken[0]["fix"]


# --- files and settings --------------------------------------------------------------------------


async def test_a_configuration_that_is_wrong(patient: Patient) -> None:
    patient.set("homeserver.adress", "http://localhost")
    patient.set("main_agent.model", "nothing")
    code, told = await patient.json()
    broken = [each["found"] for each in told["checks"] if each["state"] == "fail"]
    assert code == 1 and len(broken) == 2
    assert "did you mean address?" in broken[0] and "main_agent.model" in broken[1]


async def test_no_configuration(patient: Patient) -> None:
    patient.config.unlink(missing_ok=True)
    found = await command.look(patient.config)
    assert found[0].state == "fail" and "config.example.yaml" in found[0].found


async def test_a_configuration_that_everybody_can_read(patient: Patient) -> None:
    patient.mode = 0o644
    await patient.fault(
        "configuration file", says="everybody", fix=f"chmod 600 {patient.config}", state="warn"
    )


async def test_a_registration_of_another_configuration(patient: Patient) -> None:
    (patient.service.folder / "registration.yaml").write_text("id: other\n")
    await patient.fault(
        "registration file", says="not of this configuration", fix="memtrix-as -g", state="warn"
    )


async def test_a_folder_that_cannot_be_one(patient: Patient) -> None:
    patient.service.folder.joinpath("work").write_text("a file")
    patient.set("workspace_directory", str(patient.service.folder / "work"))
    await patient.fault("folders", says="workspace_directory", fix="change workspace_directory")


NOBODY = """
import os, sys
import memtrix_as.doctor.command  # while it may still be read
from memtrix_as.__main__ import main
if os.geteuid() == 0:
    os.setgroups([]); os.setgid(65534); os.setuid(65534)
main(["doctor", "--no-model-calls", "-c", sys.argv[1]])
"""


async def test_a_workspace_that_is_nearly_full(patient: Patient) -> None:
    patient.set("limits.workspace_size", 100)
    den = patient.service.folder / "agents" / "den"
    den.mkdir(parents=True)
    with (den / "ballast").open("wb") as file:
        file.truncate(95_000_000)
    await patient.fault(
        "workspaces", says="agents/den has 95 of 100 MB", fix="limits.workspace_size", state="warn"
    )


async def test_a_folder_that_this_account_may_not_write(patient: Patient) -> None:
    home = Path(tempfile.mkdtemp())  # pytest's own are root's alone
    try:
        (home / "agents").mkdir()
        for path, mode in ((home / "agents", 0o555), (home, 0o755)):
            path.chmod(mode)
        patient.set("agents_directory", str(home / "agents"))
        config = home / "config.yaml"
        shutil.copy(patient.service.write(), config)
        config.chmod(0o644)
        with (home / "out").open("wb") as output:
            child = await spawn(
                [sys.executable, "-c", NOBODY, config], cwd=home, output=output,
                env={**os.environ, "PYTHONPATH": str(ROOT)},
            )  # fmt: skip
            assert await child.wait() == 1
        text = (home / "out").read_text()
        assert f"agents_directory: {home / 'agents'} cannot be written" in text, text
        assert "or change agents_directory" in text
    finally:
        shutil.rmtree(home)


async def test_nobody_is_an_administrator(patient: Patient) -> None:
    patient.service.permit(**{DOMAIN: "user"})
    await patient.fault("permissions", says="nobody is an administrator", fix="admin", state="warn")


async def test_everybody_may_talk(patient: Patient) -> None:
    patient.service.permit(**{"*": "user", f"@boss:{DOMAIN}": "admin"})
    await patient.fault("permissions", says="everybody", fix='"*": none', state="warn")


async def test_a_time_zone_that_is_not_the_machines(patient: Patient) -> None:
    patient.set("timezone", "Pacific/Kiritimati")
    await patient.fault("time zone", says="Kiritimati", fix="set timezone", state="warn")
