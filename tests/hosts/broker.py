"""A Redis for hosts that take their work from a broker."""

from __future__ import annotations

import shutil
import socket
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from hosts.laboratory import HOST, free_port

if TYPE_CHECKING:
    from hosts.laboratory import Laboratory


def start_redis(lab: Laboratory) -> str:
    """Start a Redis of the cell's own, in memory alone; returns its URL once it answers."""
    executable = shutil.which("redis-server")
    if executable is None:  # `make hosts` does not begin without it
        pytest.skip("redis-server is not installed; it is the broker of this host's tests")
    port = free_port()
    command = [executable, "--bind", HOST, "--port", str(port), "--save", "", "--appendonly", "no"]
    process = lab.launch(command, main=False)

    def answers() -> bool:
        assert process.poll() is None, "redis-server ended at its start"
        with suppress(OSError), socket.create_connection((HOST, port), 1.0) as connection:
            connection.sendall(b"PING\r\n")
            return connection.recv(16).startswith(b"+PONG")
        return False

    lab.wait_until(answers)
    return f"redis://{HOST}:{port}/0"
