from __future__ import annotations

from seeds import draw_fresh


def pytest_configure() -> None:
    """Seeds for `make faults`."""
    draw_fresh("WHISPERR_FAULT_SEEDS")
