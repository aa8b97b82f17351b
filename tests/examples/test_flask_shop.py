"""The Flask shop of docs/examples, under uWSGI."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from examples.shops import CUSTOMERS, EXAMPLES, Customer, environment, run_shop
from hosts.laboratory import HOST, Laboratory
from hosts.uwsgi_status import wait_until_idle

if TYPE_CHECKING:
    from pathlib import Path

    from harness import LocalServer


@pytest.mark.timeout(60)
def test_under_uwsgi_every_order_arrives_once_for_the_customer_who_is_logged_in(
    server: LocalServer, api_key: str, tmp_path: Path
) -> None:
    uwsgi = environment().pyuwsgi
    with Laboratory(environment(), tmp_path, server, api_key, "") as lab:

        def enter(name: str) -> Customer:
            customer = Customer(lab, name)
            assert customer.post("/orders").status_code == 401
            assert customer.post("/login", name=name, password="guessed").status_code == 403
            customer.post("/login", name=name, password=f"{name}'s password").raise_for_status()
            return customer

        def stop() -> None:
            for name in CUSTOMERS:
                enter(name).post("/logout").raise_for_status()
            wait_until_idle(lab)  # a worker that answers a request runs no exit hook
            lab.main.terminate()

        command = [
            *(str(uwsgi), "-H", str(uwsgi.parent.parent), "--http-socket", f"{HOST}:{lab.port}"),
            *("--master", "--processes", "2", "--die-on-term", "--module", "app:create_app()"),
            *("--need-app", "--stats", "stats", "--pythonpath", str(EXAMPLES / "flask_shop")),
        ]
        lab.variables["SHOP_SECRET_KEY"] = "a-test"
        run_shop(lab, command, enter, ("/orders", "/subscription"), stop)
        rows = server.events(api_key)
    for event_type, times in (("logged_in", 2), ("logged_out", 1)):
        names = [row["external_user_id"] for row in rows if row["event_type"] == event_type]
        assert sorted(names) == sorted(CUSTOMERS * times)
