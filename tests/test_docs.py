"""Every Python snippet of the documents runs, against the local server."""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from runs import run_script
from whisperr import Draft, FlushResult, ProcessInfo, Stats, Whisperr

if TYPE_CHECKING:
    from harness import LocalServer

ROOT = Path(__file__).parent.parent
_SNIPPET = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
DOCUMENTS = {
    str(path.relative_to(ROOT)): snippets
    for path in [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    if (snippets := _SNIPPET.findall(path.read_text()))
}


@pytest.mark.parametrize("document", DOCUMENTS)
def test_the_snippets_of_a_document_run_one_after_the_other(
    server: LocalServer, api_key: str, tmp_path: Path, document: str
) -> None:
    script = tmp_path / "snippets.py"
    script.write_text("\n".join(DOCUMENTS[document]))
    result = run_script(server, api_key, tmp_path, str(script))
    assert result.status == 0, result.output
    tracked = "track(" in script.read_text()
    assert (server.counts(api_key)["events"] > 0) == tracked


def test_the_readme_begins_with_the_two_commands() -> None:
    text = (ROOT / "README.md").read_text()
    assert text.index("make demo") < text.index("make test") < text.index("## ")


def test_links_between_the_documents_lead_somewhere() -> None:
    for path in [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]:
        for target in re.findall(r"\]\(([^)#:]+)\)", path.read_text()):
            assert (path.parent / target).exists(), f"{path.name}: {target}"


@pytest.mark.parametrize("kind", [Whisperr, Draft, FlushResult, Stats, ProcessInfo])
def test_the_reference_has_every_public_name_and_argument(kind: type) -> None:
    page = (ROOT / "docs" / "client.md").read_text()
    names = {*dir(kind), *vars(kind).get("__annotations__", {})}
    for name in sorted(name for name in names if not name.startswith("_")):
        assert re.search(rf"\b{name}\b", page), name
        member = getattr(kind, name, None)
        for argument in inspect.signature(member).parameters if inspect.isfunction(member) else ():
            assert argument == "self" or re.search(rf"\b{argument}\b", page), (name, argument)


def test_no_document_has_a_place_that_nobody_filled() -> None:
    for path in [ROOT / "README.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").rglob("*.md")]:
        assert "@@" not in path.read_text(), path.name
