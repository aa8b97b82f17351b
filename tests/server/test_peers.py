from __future__ import annotations

import os
import subprocess
import sys

import psutil
import pytest

from harness import LocalServer
from server.wire import Sender, event

CHILD = """
import os, sys
sys.path.insert(0, sys.argv[1])
from server.wire import Sender, event
with Sender(sys.argv[2], sys.argv[3]) as sender:
    assert sender.batch(event()).status == 202
"""

INHERITED = """
import os, sys
sys.path.insert(0, sys.argv[1])
from server.wire import Sender, event
with Sender(sys.argv[2], sys.argv[3]) as sender:
    sender._connection.connect()
    if os.fork():
        os.wait()
    else:
        sender.batch(event())
        os._exit(0)
"""


def run(source: str, *args: str) -> int:
    """Run `source` in a new interpreter with the tests' folder and `args`; return its pid."""
    tests = os.path.dirname(os.path.dirname(__file__))
    with subprocess.Popen([sys.executable, "-c", source, tests, *args]) as process:
        assert process.wait(30) == 0
    return process.pid


def test_each_arrival_names_the_process_that_sent_it(server: LocalServer, api_key: str) -> None:
    with Sender(server.url, api_key) as sender:
        sender.batch(event())
        sender.batch(event())
    pid = run(CHILD, server.url, api_key)
    rows = server.arrivals(api_key)
    assert [row["pid"] for row in rows] == [os.getpid(), os.getpid(), pid]
    assert rows[0]["created"] == psutil.Process().create_time()
    processes = server.get("/stored/processes", key=api_key)["rows"]
    assert [(row["pid"], row["connections"], row["requests"]) for row in processes] == [
        (os.getpid(), 1, 2),
        (pid, 1, 1),
    ]


def test_without_peers_an_arrival_names_nobody() -> None:
    server = LocalServer.start(":memory:", "--no-peers")
    with Sender(server.url, "wrk_test_nobody") as sender:
        sender.batch(event())
    assert [row["pid"] for row in server.arrivals("wrk_test_nobody")] == [None]
    assert server.stop() == 0


@pytest.mark.skipif(not hasattr(os, "fork"), reason="sockets are inherited over a fork only")
def test_an_inherited_socket_belongs_to_the_process_created_first(
    server: LocalServer, api_key: str
) -> None:
    pid = run(INHERITED, server.url, api_key)
    assert [row["pid"] for row in server.arrivals(api_key)] == [pid]
