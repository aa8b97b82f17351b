"""A shop under gunicorn and a ledger of what it tracked and what arrived: `whisperr demo`."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Settings:
    """How to run the demo.

    Attributes:
        requests: HTTP requests to the shop; a few more follow until every worker has served.
        workers: gunicorn's workers.
        connections: Visitors of the shop at a time, each with a connection of its own.
        keep: Keep the folder with the database and the logs, and say where it is.
        shop: The WSGI application that gunicorn serves.

    """

    requests: int = 4000
    workers: int = 4
    connections: int = 8
    keep: bool = False
    shop: str = "whisperr.demo.shop:application"


class DemoError(Exception):
    """The demo cannot go on; the text is one sentence that says what to do.

    Attributes:
        status: The exit status of the command.

    """

    def __init__(self, message: str, status: int = 1) -> None:
        super().__init__(message)
        self.status = status


def run(settings: Settings) -> int:
    """Run the demo and return its exit status: 0 where everything arrived exactly once."""
    # Imported here: gunicorn's master imports this package for the shop and nothing else.
    from whisperr.demo.runner import run_demo

    return run_demo(settings)
