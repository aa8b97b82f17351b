"""The example under gunicorn --preload: a user logs in, buys, and everything arrives once."""

from __future__ import annotations

import signal
import sqlite3
import uuid
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
import requests

from frameworks.django.shop import FOLDER, PASSWORD, USER, Shop
from hosts.environments import environments
from hosts.laboratory import HOST, Laboratory
from whisperr.server.ledger import arrivals_from, judge

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from harness import LocalServer

WORKERS = 2
#: Browsers at a time, and how often each of them does everything that the shop has.
BROWSERS, ROUNDS = 4, 25


class Browser:
    """A user of the shop, with cookies."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._session = requests.Session()
        self._session.trust_env = False  # no proxy of the machine's

    def __enter__(self) -> Browser:
        return self

    def __exit__(self, *_: object) -> None:
        self._session.close()

    def get(self, path: str) -> requests.Response:
        return self._session.get(self._url + path, timeout=30)

    def post(self, path: str, **fields: str) -> requests.Response:
        """As a form of the shop's does."""
        fields["csrfmiddlewaretoken"] = self._session.cookies["csrftoken"]
        return self._session.post(self._url + path, data=fields, timeout=30, allow_redirects=False)

    def log_in(self) -> None:
        self.get("/login/")
        assert self.post("/login/", username=USER, password=PASSWORD).status_code == 302

    def shop(self) -> None:
        """Everything that reports, and what does not."""
        assert self.get("/products/teapot/").json()["cents"] == 2400
        assert self.get("/").status_code == 200
        assert self.post("/products/teapot/checkout/").status_code == 201
        assert self.post("/products/sold-out/checkout/").status_code == 409
        changed = self.post("/account/email/", email=f"{uuid.uuid4().hex}@example.com")
        assert changed.status_code == 302


@pytest.fixture
def lab(tmp_path: Path, server: LocalServer, api_key: str) -> Iterator[Laboratory]:
    (environment,) = environments().values()
    with Laboratory(environment, tmp_path, server, api_key, "stop") as lab:
        yield lab


@pytest.fixture
def shop(lab: Laboratory) -> Shop:
    shop = Shop(lab.folder, lab.server, lab.api_key)
    lab.variables = shop.variables
    return shop


def start(lab: Laboratory, command: list[str]) -> str:
    """Start a host and wait until it serves; returns its URL."""
    lab.launch(command)
    lab.wait_until(lambda: lab.exchange("/", 2.0)[0] == 200)
    return f"http://{HOST}:{lab.port}"


def drive(url: str) -> None:
    """Several browsers at a time, each logged in."""

    def visit(_: int) -> None:
        with Browser(url) as browser:
            assert browser.get("/products/teapot/").status_code == 200  # not logged in
            browser.log_in()
            for _round in range(ROUNDS):
                browser.shop()

    with ThreadPoolExecutor(BROWSERS) as pool:
        list(pool.map(visit, range(BROWSERS)))


def committed(shop: Shop) -> set[str]:
    """The numbers of the orders in the shop's own database."""
    with closing(sqlite3.connect(shop.database)) as database:
        rows = database.execute("SELECT number FROM orders_order").fetchall()
    return {str(uuid.UUID(number)) for (number,) in rows}


def assert_balanced(lab: Laboratory, shop: Shop, processes: int) -> None:
    """What the application wrote down, less what it rolled back, arrived once."""
    orders = {line["id"]: line["order"] for line in lab.lines("orders")}
    kept = committed(shop)
    rolled_back = {test_id for test_id, order in orders.items() if order not in kept}
    ledger = judge(lab.tracked() - rolled_back, arrivals_from(lab.arrivals()))
    assert ledger.exactly_once, f"{lab.account()}\n{lab.output}"
    assert lab.lines("reports") == []
    visits = BROWSERS * ROUNDS
    assert len(kept) == len(rolled_back) == visits
    #: A login for each browser; a page, an order, a failed one and an address for each round.
    assert len(ledger.arrived) == BROWSERS + 4 * visits
    assert len({line["pid"] for line in lab.lines("journal")}) == processes
    kinds = {row["kind"] for row in lab.arrivals()}
    assert kinds == {"event", "identify"}
    assert {row["body"]["external_user_id"] for row in lab.arrivals()} == {"1"}


def gunicorn(lab: Laboratory) -> list[str]:
    return [
        *lab.environment.script("gunicorn"),
        *("--config", str(FOLDER / "gunicorn.conf.py"), "--bind", f"{HOST}:{lab.port}"),
        *("--preload", "--workers", str(WORKERS), "shop.wsgi"),
    ]


def uvicorn(lab: Laboratory) -> list[str]:
    where = ("--host", HOST, "--port", str(lab.port))
    return [lab.environment.python, "-m", "uvicorn", *where, "shop.asgi:application"]


@pytest.mark.parametrize(
    ("command", "processes"), [(gunicorn, WORKERS), (uvicorn, 1)], ids=["gunicorn", "uvicorn"]
)
def test_all_that_the_example_reports_arrives_once(
    lab: Laboratory,
    shop: Shop,
    command: Callable[[Laboratory], list[str]],
    processes: int,
) -> None:
    shop.fill()
    drive(start(lab, command(lab)))
    lab.signal(signal.SIGTERM)
    lab.wait_for_host()
    assert_balanced(lab, shop, processes)


def test_the_example_has_no_problem_of_its_own(shop: Shop) -> None:
    sound = shop.manage("check", DJANGO_SETTINGS_MODULE="shop.settings")
    assert sound.returncode == 0, sound.stderr
    assert "no issues" in sound.stdout
    migrated = shop.manage("makemigrations", "--check", "--dry-run")
    assert migrated.returncode == 0, migrated.stdout


def test_without_a_key_the_check_of_the_example_says_what_to_set(shop: Shop) -> None:
    failed = shop.manage("check", WHISPERR_API_KEY=None)
    assert failed.returncode == 1
    assert "whisperr.E001" in failed.stderr
    assert "WHISPERR_API_KEY" in failed.stderr
