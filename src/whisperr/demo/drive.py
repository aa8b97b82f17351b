"""The visitors of the shop."""

from __future__ import annotations

import threading
import time
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from typing import TYPE_CHECKING

import requests

from whisperr.demo import DemoError

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future

    from typing_extensions import Self

    from whisperr.demo.host import Gunicorn

_PAGES = ("signup", "checkout", "checkout", "declined", "checkout", "cancel")
_ANSWER_SECONDS = 45.0
_SETTLE_SECONDS = 45.0
_LOOK_AGAIN = 0.02


class Visitors:
    """Threads that send requests, each over a connection of its own.

    Args:
        url: The shop.
        connections: How many threads.

    """

    def __init__(self, url: str, connections: int) -> None:
        self.answered_by: list[int] = []  # the worker behind each answer
        self._url = url
        self._own = threading.local()
        self._stopped = threading.Event()
        self._connections = connections
        self._pool = ThreadPoolExecutor(connections)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self._pool.shutdown(cancel_futures=True)

    def send(self, count: int, meanwhile: Callable[[], None]) -> None:
        """Send `count` requests, and call `meanwhile` now and then until all are answered."""
        pending: set[Future[None]] = {self._pool.submit(self._visit, n) for n in range(count)}
        while pending:
            done, pending = wait(pending, _LOOK_AGAIN, FIRST_EXCEPTION)
            for future in done:
                future.result()
            meanwhile()

    def send_round(self) -> None:
        """Send one request over each connection."""
        self.send(self._connections, lambda: None)

    def _visit(self, number: int) -> None:
        path = f"/{_PAGES[number % len(_PAGES)]}/user_{number}"
        deadline = time.monotonic() + _ANSWER_SECONDS
        while (answer := self._post(path)) is None:
            if self._stopped.wait(_LOOK_AGAIN) or time.monotonic() > deadline:
                raise DemoError(f"The shop did not answer {path} in {_ANSWER_SECONDS:.0f} s.")
        if not answer.ok:
            raise DemoError(f"The shop answered {path} with {answer.status_code}.")
        self.answered_by.append(int(answer.headers["X-Worker-Pid"]))

    def _post(self, path: str) -> requests.Response | None:
        """Return the answer, None where there is none.

        A repetition is another request: the shop tracks it under ids of its own, so the ledger
        holds whether or not the first one was served.
        """
        if not hasattr(self._own, "session"):
            self._own.session = requests.Session()
            self._own.session.trust_env = False  # no proxy of the user's
        try:
            answer: requests.Response = self._own.session.post(self._url + path, timeout=10)
        except requests.RequestException:
            return None
        return answer


def drive(
    gunicorn: Gunicorn, visitors: Visitors, count: int, progress: Callable[[int], None]
) -> None:
    """Send `count` requests, replace the workers in the middle, and go on until all have served.

    Args:
        gunicorn: The host.
        visitors: Who sends.
        count: How many.
        progress: Called with the number of answers until now.

    """
    replaced: frozenset[int] = frozenset()

    def look() -> None:
        nonlocal replaced
        gunicorn.check()
        progress(len(visitors.answered_by))
        halfway = len(visitors.answered_by) >= count // 2
        if not replaced and halfway and gunicorn.serves_with(set(visitors.answered_by)):
            replaced = gunicorn.workers().live
            gunicorn.replace_workers()

    def settled() -> bool:
        look()
        return bool(
            replaced
            and not replaced & gunicorn.workers().live
            and gunicorn.serves_with(set(visitors.answered_by))
        )

    visitors.send(count, look)
    deadline = time.monotonic() + _SETTLE_SECONDS
    while not settled():
        if time.monotonic() > deadline:
            raise DemoError(f"gunicorn did not replace its workers in {_SETTLE_SECONDS:.0f} s.")
        visitors.send_round()
        time.sleep(_LOOK_AGAIN)
