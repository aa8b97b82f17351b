"""The FastAPI shop of docs/examples, under uvicorn's workers and under gunicorn."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from examples.shops import EXAMPLES, Customer, environment, run_shop
from hosts.laboratory import HOST, Laboratory

if TYPE_CHECKING:
    from pathlib import Path

    from harness import LocalServer

SHOP = str(EXAMPLES / "fastapi_shop")
PATHS = ("/orders", "/orders/later", "/subscription")
HOSTS = {
    "uvicorn": ["--workers", "2", "--host", HOST, "--port", "{port}", "--app-dir", SHOP],
    "gunicorn": [
        *("--worker-class", "uvicorn_worker.UvicornWorker", "--workers", "2"),
        *("--bind", HOST + ":{port}", "--chdir", SHOP, "--config", "python:hosts.gunicorn_conf"),
    ],
}


@pytest.mark.timeout(60)
@pytest.mark.parametrize("host", HOSTS)
def test_every_order_arrives_once_for_the_customer_whose_token_it_was(
    server: LocalServer, api_key: str, tmp_path: Path, host: str
) -> None:
    with Laboratory(environment(), tmp_path, server, api_key, "") as lab:

        def enter(name: str) -> Customer:
            stranger = Customer(lab, name, Authorization="Bearer guessed")
            assert stranger.post("/orders", id="refused").status_code == 401
            return Customer(lab, name, Authorization=f"Bearer token-of-{name}")

        options = [option.format(port=lab.port) for option in HOSTS[host]]
        command = [*lab.environment.script(host), *options, "main:app"]
        run_shop(lab, command, enter, PATHS, lambda: lab.main.terminate())
