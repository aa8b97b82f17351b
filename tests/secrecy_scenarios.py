"""A process whose deliveries fail in every way; run by test_secrecy.py, which reads what it said.

argv: a folder for what is not printed, and how many services there are below the base URL.
"""

from __future__ import annotations

import copy
import faulthandler
import json
import logging
import os
import pickle
import sys
import traceback
import warnings
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, cast

import requests
import requests.adapters

from whisperr import Channel, Whisperr, WhisperrError

if TYPE_CHECKING:
    from collections.abc import Callable

FOLDER = Path(sys.argv[1])
URL = os.environ["WHISPERR_BASE_URL"]
MARK = os.environ["LAB_MARK"]


class OddError(Exception):
    """Nothing that the client knows."""


def main() -> None:
    speak_up()
    for number in range(int(sys.argv[2])):
        deliver(base_url=f"{URL}/{number}")
    for url in ("http://127.0.0.1:1", "https://nowhere.invalid", URL.replace("http:", "https:")):
        deliver(base_url=url)
    for factory in (factory_that_raises, factory_that_raises_oddly, session_with_a_broken_adapter):
        deliver(base_url=f"{URL}/0", session_factory=factory)
    misuse()
    misconfigure()
    faulthandler.dump_traceback(all_threads=True)
    leave_something()


def speak_up() -> None:
    """Everything that can be logged is logged."""
    faulthandler.enable()
    warnings.simplefilter("always")
    logging.basicConfig(level=logging.DEBUG, format="%(name)s %(message)s", stream=sys.stderr)
    for name in ("whisperr", "urllib3", "requests"):
        logging.getLogger(name).setLevel(logging.DEBUG)


def deliver(**options: Any) -> None:
    """Operations of every kind, full of marks, twice as often as the service is asked for."""
    client = new_client(**options)
    client.track(f"user-{MARK}", "offender", {MARK: MARK}, {"place": MARK}, message_id=f"id-{MARK}")
    client.identify(
        f"user-{MARK}",
        traits={MARK: MARK},
        email=f"{MARK}@example.com",
        phone=f"+1{MARK}",
        channels=[Channel.push(f"token-{MARK}", kind="fcm")],
        anonymous_id=f"browser-{MARK}",
    )
    for _ in range(2):
        attempt(client.flush, 5)
    attempt(client.shutdown, 1)
    show(client)


def new_client(**options: Any) -> Whisperr:
    return Whisperr(
        **{
            "debug": True,
            "flush_interval": 0,
            "flush_at": 10_000,
            "max_retries": 0,
            "request_timeout": 2.0,
            "on_error": reported,
            **options,
        }
    )


def reported(error: WhisperrError) -> NoReturn:
    """What the service said goes to a file of its own: it may quote what the caller gave."""
    fields = {name: value for name, value in vars(error).items() if name != "service_message"}
    print("REPORT", json.dumps(fields))
    print(repr(error), str(error), error.args, *traceback.format_exception(error))
    with (FOLDER / "service_messages").open("a") as file:
        file.write(f"{error.service_message}\n")
    error.service_message = None
    pickled(error)
    raise ValueError(MARK)


def show(client: Whisperr) -> None:
    """Whatever an application may print."""
    print(repr(client), str(client), f"{client}", repr(client._options), repr(client.stats()))
    for public in (copy.deepcopy(client), client.flush, client.stats, Whisperr, client.stats()):
        print(repr(public))
    for value in (client, client._options, client.stats(), client.flush(0)):
        attempt(pickled, value) if value is not client._options else print(repr([value]))


def pickled(value: object) -> None:
    with (FOLDER / "pickles").open("ab") as file:
        file.write(pickle.dumps(value))


def attempt(call: Callable[..., object], *arguments: object) -> None:
    try:
        print(call.__name__, call(*arguments))
    except Exception:  # noqa: BLE001 - what it shows is the test's
        traceback.print_exc()


def factory_that_raises() -> NoReturn:
    key = os.environ["WHISPERR_API_KEY"]
    raise ValueError(f"no header can carry {key}")


def factory_that_raises_oddly() -> NoReturn:
    key = os.environ["WHISPERR_API_KEY"]
    raise OddError(len(key))


def session_with_a_broken_adapter() -> requests.Session:
    class Broken(requests.adapters.HTTPAdapter):
        def send(self, request: requests.PreparedRequest, **_: Any) -> NoReturn:  # type: ignore[override]
            headers, body = dict(request.headers), request.body
            raise OddError(len(headers), len(body or b""))

    session = requests.Session()
    session.mount("http://", Broken())
    return session


def misuse() -> None:
    """Calls that are refused, and a queue that overflows."""

    def before_send(operation: dict[str, Any], _kind: str) -> dict[str, Any]:
        raise KeyError(operation)

    for options in ({}, {"before_send": before_send}):
        client = new_client(base_url=f"{URL}/0", max_queue_size=2, **options)
        user = f"user-{MARK}"
        track, identify = cast("Any", client.track), cast("Any", client.identify)
        for refused in (
            partial(track, user, f"Not Snake {MARK}"),
            partial(track, [MARK], "offender"),
            partial(track, user, "offender", [MARK]),
            partial(track, user, "offender", {}, {}, occurred_at=MARK),
            partial(track, user, "offender", {"text": MARK * 300_000}),
            partial(identify, user, channels=[{"type": MARK, "address": MARK}]),
            partial(identify, user, channels=[{"type": "email", MARK: MARK}]),
            partial(identify, user, preferred_channel=MARK),
            partial(identify, user, traits=[MARK], anonymous_id=MARK * 100),
        ):
            refused()
            attempt(client.flush)  # each has its own report
        for _ in range(5):
            client.track(f"user-{MARK}", "offender", {MARK: object()})
        attempt(client.shutdown, 1)
        client.track(f"user-{MARK}", "offender")
        attempt(client.flush)


def misconfigure() -> None:
    """Options that are refused, or warned of."""
    key = os.environ["WHISPERR_API_KEY"]
    attempt(lambda: Whisperr(f"{key} {key}"))
    attempt(lambda: Whisperr(f"{key}\n"))
    attempt(lambda: Whisperr(key, base_url=f"http://{key}:{key}@127.0.0.1"))
    attempt(lambda: Whisperr(key, flush_at=0))
    attempt(lambda: Whisperr(key, base_url="http://plain.example"))


def leave_something() -> None:
    """The end of the process finds a service that refuses the key."""
    client = new_client(base_url=f"{URL}/auth", shutdown_timeout=0.5)
    client.track(f"user-{MARK}", "offender", {MARK: MARK})


if __name__ == "__main__":
    main()
