"""The configuration of every gunicorn under test: what its command line cannot say."""

import os
from typing import Any

import lab
from hosts import hooks  # noqa: F401 - before the helper takes any name

#: The master's control socket and its thread stay on, as by default, but at a place of their own.
control_socket = os.path.join(os.environ["LAB_FOLDER"], "control")


def post_worker_init(worker: Any) -> None:
    """From here on the worker hears signals: those sent before may get lost in gunicorn."""
    lab.note("ready", pid=worker.pid)


if os.environ.get("LAB_HELPER") == "on":
    from whisperr.gunicorn import install

    install(globals())
