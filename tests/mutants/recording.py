"""A pytest plugin for copies of the repository: picks tests by name, writes down each outcome."""

from __future__ import annotations

import json
import os
import re
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Generator

#: Where to write each start and each outcome, in a line: [outcome, node id, reason, time].
RESULTS = "MUTANT_RESULTS"
#: The node ids to pick, one on each line, without what only numbers the runs.
WANTED = "MUTANT_TESTS"
STARTED = "started"
_LAST_NUMBER = re.compile(r"-?\d+$")
_LAST_COUNT = re.compile(r"-?\d+-\d+$")


def pytest_configure() -> None:
    import whisperr

    source = Path(whisperr.__file__).resolve()
    assert source.is_relative_to(Path.cwd().resolve()), f"{source} is not the copy's"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    wanted = os.environ[WANTED].splitlines()
    others = [item for item in items if _name(item) not in wanted]
    config.hook.pytest_deselected(items=others)
    items[:] = [item for item in items if _name(item) in wanted]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.when == "call":
        _write(report.outcome, item, report)
    elif report.when == "setup" and report.outcome != "passed":
        _write("error" if report.failed else "skipped", item, report)
    return report


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    _write(STARTED, item)


def _name(item: pytest.Item) -> str:
    """The node id without the `run` of runs.repeated and the count of pytest-repeat."""
    if not isinstance(item, pytest.Function) or not hasattr(item, "callspec"):
        return item.nodeid
    text: str = item.callspec.id
    if "__pytest_repeat_step_number" in item.callspec.params:
        text = _LAST_COUNT.sub("", text)
    if "run" in item.callspec.params:
        text = _LAST_NUMBER.sub("", text)
    name = item.nodeid[: -len(f"[{item.callspec.id}]")]
    return f"{name}[{text}]" if text else name


def _write(outcome: str, item: pytest.Item, report: pytest.TestReport | None = None) -> None:
    crash = getattr(report.longrepr, "reprcrash", None) if report is not None else None
    reason = " ".join(str(getattr(crash, "message", "")).split())
    line = json.dumps([outcome, _name(item), reason, time.monotonic()])
    with Path(os.environ[RESULTS]).open("a") as results:
        results.write(line + "\n")
