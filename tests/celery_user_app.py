"""A Flask shop that sends tasks, and the worker that runs them; see test_celery_user.py.

Started as a script it sends, for each user, every way of sending there is, in requests of the
shop's own. The first argument says for how many users.
"""

from __future__ import annotations

import asyncio
import os
import sys
from typing import Any

from celery import Celery, chain, group
from celery.signals import worker_ready
from flask import Flask, request

import lab
from whisperr.celery import HEADER, carry_user
from whisperr.flask import WhisperrFlask
from whisperr.request import RequestClient, Resolver, current, current_request

client = lab.client()
app = Celery("shop", broker=os.environ["LAB_BROKER"])
app.conf.update(task_ignore_result=True, worker_prefetch_multiplier=1)
carry_user(client)


@worker_ready.connect
def _note(**_: object) -> None:
    lab.note("ready", pid=os.getpid())


# What the worker runs


@app.task(name="work", bind=True)
def work(self: Any, test_id: str) -> None:
    """Track for whoever sent it."""
    lab.note("ran", id=test_id, headers=self.request.headers)
    current_request().track("worked", {"test_id": test_id})


@app.task(name="retried", bind=True)
def retried(self: Any, test_id: str) -> None:
    """Track at the second try."""
    if self.request.retries == 0:
        raise self.retry(countdown=0)
    work.run(test_id)


@app.task(name="sends")
def sends(test_id: str) -> None:
    """Have another task do it."""
    work.delay(test_id)


@app.task(name="fails", bind=True)
def fails(self: Any, test_id: str) -> None:
    """Track, and fail."""
    work.run(test_id)
    raise LookupError("a task that fails")


# What the shop sends


def _new(user: str) -> str:
    """An id in the journal, and who is expected to be its user."""
    test_id = lab.journal("event")
    lab.note("sent", id=test_id, user=user)
    return test_id


def _send_all(user: str) -> None:
    work.delay(_new(user))
    work.apply_async((_new(user),), countdown=0.1)
    retried.delay(_new(user))
    sends.delay(_new(user))
    fails.delay(_new(user))
    chain(work.si(_new(user)), sends.si(_new(user)), work.si(_new(user))).delay()
    group(work.si(_new(user)), work.si(_new(user))).delay()
    work.apply_async((_new(user),), link=work.si(_new(user)))
    work.apply_async((_new(user),), headers={"trace": user})
    work.apply_async((_new(f"friend_of_{user}"),), headers={HEADER: f"friend_of_{user}"})


shop = Flask(__name__)
WhisperrFlask(shop, client=client, resolve_user=lambda request: request.headers.get("X-User"))


@shop.post("/")
def _sell() -> str:
    user = request.headers.get("X-User")
    if user is None:
        work.delay("anonymous")
    else:
        _send_all(user)
    return ""


async def _unresolved(_: object) -> str:
    raise AssertionError("nobody awaits it")


async def _send_on_a_loop() -> None:
    """In a request whose user takes an await."""
    token = current.set(RequestClient(client, Resolver(_unresolved), None))
    work.delay("unresolved")
    current.reset(token)


def main(users: int) -> None:
    """Send, as many users; and for nobody, before, between and after."""
    http = shop.test_client()
    for number in range(users):
        work.delay("nobody")
        http.post("/")
        http.post("/", headers={"X-User": f"user_{number}"})
    asyncio.run(_send_on_a_loop())
    work.delay("nobody")


if __name__ == "__main__":
    main(int(sys.argv[1]))
