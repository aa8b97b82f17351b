"""Seeds of random runs: so many fresh ones, or those that are named, in a variable."""

from __future__ import annotations

import os
import secrets

_NAMED = "seed:"


def draw_fresh(variable: str) -> None:
    """Turn a number of seeds into fresh ones, before workers of pytest-xdist copy them."""
    wanted = os.environ.get(variable, "")
    if wanted.isdecimal():
        fresh = [str(secrets.randbelow(10**6)) for _ in range(int(wanted))]
        os.environ[variable] = _NAMED + ",".join(fresh)


def named(variable: str, usual: list[str]) -> list[str]:
    """The seeds that the variable names as `seed:1,2`, or the usual ones."""
    given = os.environ.get(variable)
    return given.removeprefix(_NAMED).split(",") if given else usual
