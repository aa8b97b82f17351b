from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from harness import LocalServer

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def server() -> Iterator[LocalServer]:
    """A server of these tests' own: they set its clock."""
    server = LocalServer.start()
    yield server
    server.stop()
