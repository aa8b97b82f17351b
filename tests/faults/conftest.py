from __future__ import annotations

import os
import secrets

SEEDS = "WHISPERR_FAULT_SEEDS"


def pytest_configure() -> None:
    """Turn a number of seeds into fresh ones, before workers of pytest-xdist copy them."""
    wanted = os.environ.get(SEEDS, "")
    if wanted.isdecimal():
        fresh = [str(secrets.randbelow(10**6)) for _ in range(int(wanted))]
        os.environ[SEEDS] = "seed:" + ",".join(fresh)
