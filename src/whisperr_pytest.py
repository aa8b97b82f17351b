"""The pytest plugin of whisperr. It imports the package where a test asks for it, not before.

A module beside the package: an import of one inside would import the package, and with it
requests and ssl, at every start of pytest.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from whisperr.testing import Events

_VARIABLE = "WHISPERR_CAPTURE_FILE"
_events = pytest.StashKey["Events"]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Declare the ini option."""
    parser.addini(
        "whisperr_capture",
        "true: for the whole run whisperr's clients need no key and send nothing.",
        type="bool",
        default=False,
    )


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_load_initial_conftests(early_config: pytest.Config) -> Generator[None]:
    """Capture the run before anyone imports the application; other plugins do so in this hook."""
    if early_config.getini("whisperr_capture"):
        _capture_the_run()
    return (yield)


def _capture_the_run() -> None:
    """To the end of the process, its exit handlers included."""
    os.environ[_VARIABLE] = os.environ.get(_VARIABLE) or os.devnull  # who started us may capture
    if "whisperr" in sys.modules:
        from whisperr import _capture

        _capture.follow_environment()


@pytest.fixture
def whisperr_events(request: pytest.FixtureRequest) -> Iterator[Events]:
    """What whisperr's clients would send during the test; nothing is sent.

    Recorded across forks. The test fails at its end where a call broke the service's contract.
    See `whisperr.testing.Events`.
    """
    from whisperr.testing import capture

    with capture() as events:
        request.node.stash[_events] = events
        yield events


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None]:
    """Fail the test itself for a violation; raised in the fixture it would be a second outcome."""
    try:
        yield
    finally:
        problem = _violations(item)
    if problem:
        pytest.fail(problem, pytrace=False)


def _violations(item: pytest.Item) -> str | None:
    events = item.stash.get(_events, None)
    try:
        if events is not None:
            events.check()
    except AssertionError as problem:
        return str(problem)
    return None
