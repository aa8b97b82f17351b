"""Drives the shops of docs/examples: customers over HTTP, a ledger of their orders."""

from __future__ import annotations

import itertools
import json
import os
import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import requests

from hosts.environments import ROOT, Environment, environments
from hosts.laboratory import HOST, Laboratory
from whisperr.server.ledger import arrivals_from, judge

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from harness import LocalServer

EXAMPLES = ROOT / "docs" / "examples"
CUSTOMERS = ("ada", "grace", "alan")
#: Of each customer.
ORDERS = 100
#: Seconds for a start, and for an end: a test has a minute.
SECONDS = 20.0
_REQUEST_SECONDS = 10.0


class Customer:
    """One customer, with cookies; writes down what was ordered."""

    def __init__(self, lab: Laboratory, name: str, **headers: str) -> None:
        self.name = name
        self._url = f"http://{HOST}:{lab.port}"
        self._journal = lab.folder / "orders"
        self._headers = headers
        self._cookies = requests.cookies.RequestsCookieJar()

    def post(self, path: str, **body: str) -> requests.Response:
        """Send JSON, or nothing, on a connection of its own; the answer may be a refusal."""
        with requests.Session() as http:  # uWSGI closes a connection without saying so
            http.trust_env = False
            http.headers.update(self._headers)
            http.cookies = self._cookies
            return http.post(self._url + path, json=body or None, timeout=_REQUEST_SECONDS)

    def order(self, path: str) -> None:
        """Order with a new id; once the shop has answered, it is in the journal."""
        order_id = uuid.uuid4().hex
        self.post(path, id=order_id, product="tea").raise_for_status()
        _append(self._journal, {"id": order_id, "customer": self.name})


def _append(path: Path, line: dict[str, Any]) -> None:
    """One write(2): lines of several threads do not mix."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        os.write(descriptor, f"{json.dumps(line)}\n".encode())
    finally:
        os.close(descriptor)


def environment() -> Environment:
    """Where the hosts are installed: the interpreter that runs the tests, and its uWSGI."""
    return next(iter(environments().values()))


def run_shop(
    lab: Laboratory,
    command: Sequence[str],
    enter: Callable[[str], Customer],
    paths: Sequence[str],
    stop: Callable[[], None],
) -> None:
    """Start a shop, have customers order, stop it; each order arrived once, for its customer.

    Args:
        lab: ends whatever was started.
        command: what starts the shop.
        enter: makes a customer who may order.
        paths: where to order, in turn.
        stop: asks the shop to end.
    """
    lab.launch(command)
    lab.wait_until(lambda: _answers(lab), SECONDS)

    def buy(name: str) -> None:
        customer = enter(name)
        for path in itertools.islice(itertools.cycle(paths), ORDERS):
            customer.order(path)

    with ThreadPoolExecutor(len(CUSTOMERS)) as pool:
        list(pool.map(buy, CUSTOMERS))
    stop()
    lab.wait_for_host(SECONDS)
    _assert_balanced(lab, lab.server, lab.api_key)


def _answers(lab: Laboratory) -> bool:
    assert lab.main.poll() is None, f"The shop ended at its start.\n{lab.output}"
    return lab.exchange("/", 2.0)[0] == 200


def _assert_balanced(lab: Laboratory, server: LocalServer, api_key: str) -> None:
    journal = [json.loads(line) for line in (lab.folder / "orders").read_text().splitlines()]
    assert len(journal) == ORDERS * len(CUSTOMERS)
    rows = server.arrivals(api_key)
    ledger = judge((line["id"] for line in journal), arrivals_from(rows, "properties.order_id"))
    assert ledger.exactly_once, (
        f"lost {len(ledger.lost)} twice {len(ledger.twice)} resent {len(ledger.resent)} "
        f"unknown {len(ledger.unknown)}\n{lab.output}"
    )
    customers = {
        row["body"]["properties"]["order_id"]: row["external_user_id"]
        for row in rows
        if "order_id" in row["body"]["properties"]
    }
    assert customers == {line["id"]: line["customer"] for line in journal}
