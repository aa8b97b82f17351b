"""gunicorn's configuration: its own hook, then ours around it."""

from __future__ import annotations

import os
from typing import Any

from whisperr.gunicorn import install

control_socket = os.path.join(os.environ["LAB_FOLDER"], "control")


def post_fork(server: Any, worker: Any) -> None:
    from hosts.neighbours_app import trace_in_worker

    trace_in_worker()


install(globals())
