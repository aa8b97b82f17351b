"""Without threads a service that never answers blocks track() now and then, and no longer."""

from __future__ import annotations

import json
from pathlib import Path

from raw_server import Peer, RawServer, run_python

SCRIPT = str(Path(__file__).with_name("inline.py"))
SECONDS = 10.0
#: A round of tries with the default options; the rest after it is longer than what is left.
MOST_EXCHANGES = 7
#: For a busy machine.
GRACE = 0.5


def test_a_service_that_never_answers_blocks_a_call_for_a_second_and_few_calls_at_all() -> None:
    with RawServer(Peer.wait_for_end) as server:
        output = run_python(
            SCRIPT,
            str(SECONDS),
            environment={"WHISPERR_BASE_URL": server.url, "WHISPERR_API_KEY": "wrk_test"},
        )
    found = json.loads(output)
    took = found["took"]
    p99, longest, blocked = took[int(len(took) * 0.99)], took[-1], found["request_seconds"]
    print(
        f"{len(took)} calls in {SECONDS:.0f} s: p99 {p99 * 1e6:.0f} µs, longest {longest:.2f} s, "
        f"{found['requests']} exchanges blocked {blocked:.1f} s"
    )
    assert found["balanced"]
    assert 1 < found["requests"] <= MOST_EXCHANGES
    assert 0.9 < longest < 1 + GRACE
    assert blocked < found["requests"] + GRACE
    assert sum(took) < blocked + 2 * GRACE
    assert p99 < 0.02
