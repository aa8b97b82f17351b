"""The command `whisperr demo`."""

import signal
import sys
from typing import Annotated

import typer

from whisperr.demo import Settings, run

_DEFAULT = Settings()


def demo(
    requests: Annotated[int, typer.Option(min=1, help="Requests to the shop.")] = _DEFAULT.requests,
    workers: Annotated[int, typer.Option(min=1, help="gunicorn's workers.")] = _DEFAULT.workers,
    connections: Annotated[
        int, typer.Option(min=1, help="Visitors of the shop at a time.")
    ] = _DEFAULT.connections,
    keep: Annotated[
        bool, typer.Option("--keep", help="Keep the database and the logs, and say where.")
    ] = False,
) -> None:
    """Run a shop under gunicorn and check that what it tracks arrives exactly once."""
    # An order to end is an exception, so that everything that was started is ended on its way.
    for number in (signal.SIGTERM, getattr(signal, "SIGHUP", signal.SIGTERM)):
        signal.signal(number, lambda raised, _: sys.exit(128 + raised))
    raise typer.Exit(run(Settings(requests, workers, connections, keep)))
