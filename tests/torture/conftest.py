from __future__ import annotations

from seeds import draw_fresh


def pytest_configure() -> None:
    """Seeds for `make torture`."""
    draw_fresh("WHISPERR_TORTURE_SEEDS")
