"""Tests of an application, run by pytest-xdist or pytest-forked; they track until told to end.

LAB_DELIVERING: `on` wraps each in `delivering()`.
"""

from __future__ import annotations

import os
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import pytest

from hosts import application, orders

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(autouse=True)
def _delivering() -> Iterator[Any]:
    delivering = os.environ.get("LAB_DELIVERING") == "on"
    with application.client.delivering() if delivering else nullcontext() as client:
        yield client


@pytest.mark.parametrize("_number", range(2))
def test_that_tracks(_number: int) -> None:
    orders.serve()
