"""The list of planted defects is in order; `make mutants` shows that each is caught."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from defects import DEFECTS, PACKAGE, Defect, apply, edited
from recording import WANTED
from run import ROOT, RUNS, markdown
from tables import table

if TYPE_CHECKING:
    from pathlib import Path

INVARIANTS = range(1, 16)
each_defect = pytest.mark.parametrize("defect", DEFECTS, ids=lambda defect: defect.name)


@each_defect
def test_a_defect_fits_the_source_changes_it_and_compiles(defect: Defect, tmp_path: Path) -> None:
    texts = edited(defect, ROOT)
    assert texts
    for name, text in texts.items():
        assert text != (ROOT / PACKAGE / name).read_text()
        compile(text, name, "exec")


def test_an_edit_that_does_not_fit_is_an_error_and_changes_nothing(tmp_path: Path) -> None:
    source = tmp_path / PACKAGE / "module.py"
    source.parent.mkdir(parents=True)
    source.write_text("a = a\n")
    for old in ("a", "b"):
        with pytest.raises(ValueError, match="module"):
            apply(Defect("wrong", (1,), (("module.py", old, "c"),), ()), tmp_path)
    assert source.read_text() == "a = a\n"
    apply(Defect("right", (1,), (("module.py", "= a", "= b"),), ()), tmp_path)
    assert source.read_text() == "a = b\n"


def test_every_defect_has_a_name_of_its_own_and_a_test() -> None:
    names = Counter(defect.name for defect in DEFECTS)
    assert max(names.values()) == 1
    assert all(defect.tests and "|" not in defect.name for defect in DEFECTS)


def test_every_invariant_has_a_defect_and_a_line_in_the_document() -> None:
    broken = {number for defect in DEFECTS for number in defect.invariants}
    assert broken == set(INVARIANTS)
    assert [row[0] for row in table("proof.md", "Invariant")] == [str(n) for n in INVARIANTS]


def test_every_named_test_exists(monkeypatch: pytest.MonkeyPatch) -> None:
    named = {test for defect in DEFECTS for test in defect.tests}
    files = sorted({test.split("::", 1)[0] for test in named})
    monkeypatch.setenv(WANTED, "\n".join(named))
    monkeypatch.setenv("WHISPERR_RUNS", "1")
    # The plugin that picks the tests of a planted defect picks them here: each one once.
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider"]
    plugin = ["-p", "recording", f"--rootdir={ROOT}"]
    monkeypatch.setenv("PYTHONPATH", str(ROOT / "tests" / "mutants"), prepend=os.pathsep)
    found = subprocess.run(
        [*command, *plugin, *files], cwd=ROOT, capture_output=True, text=True, timeout=110
    )
    collected = [line for line in found.stdout.splitlines() if "::" in line]
    assert len(collected) == len(named), found.stdout + found.stderr


def test_the_document_has_the_list_s_rows_and_all_are_caught() -> None:
    written = ["| " + " | ".join(row) + " |" for row in table("proof.md", "Defect")]
    verdict = f"{RUNS} of {RUNS}"
    assert written == [markdown(d, test, verdict) for d in DEFECTS for test in d.tests]
