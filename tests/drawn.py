"""How hypothesis draws: how many examples, from which seed, and how a failure is repeated."""

from __future__ import annotations

import os
import secrets

from hypothesis import HealthCheck, settings

#: Examples of each test, and where they come from; `make model` sets them.
EXAMPLES = int(os.environ.get("WHISPERR_EXAMPLES") or "100")
SEED = int(os.environ.get("WHISPERR_SEED") or secrets.randbelow(10**6))
#: Seconds for a test: hypothesis looks for a smaller failing example for 300 s at most.
LIMIT = 600 + EXAMPLES
REPEAT = f"Repeat with: make model SEED={SEED} EXAMPLES={EXAMPLES}"

SETTINGS = settings(
    max_examples=EXAMPLES,
    stateful_step_count=30,
    deadline=None,
    database=None,  # a seed repeats a failure, on any machine
    suppress_health_check=list(HealthCheck),
)
