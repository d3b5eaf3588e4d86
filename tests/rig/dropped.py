"""Files as somebody drops them into a folder, and packages as pip lays them out."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def drop(folder: Path, name: str, text: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(text)
    return folder


def install(site: Path, name: str, text: str, group: str, *offers: str) -> None:
    """A package of one module, with entry points; `site` has to be on the path."""
    (site / f"{name}.py").write_text(text)
    info = site / f"{name}-1.0.dist-info"
    info.mkdir()
    project = name.replace("_", "-")
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("\n".join([f"[{group}]", *offers, ""]))


def code(document: str, heading: str, language: str = "python") -> list[str]:
    """The code blocks below a heading of a document, as they are written there."""
    text = (ROOT / document).read_text()
    section = re.split(r"^##+ ", text.split(f"# {heading}\n", 1)[1], maxsplit=1, flags=re.M)[0]
    return re.findall(rf"^```{language}\n(.*?)^```$", section, flags=re.M | re.S)
