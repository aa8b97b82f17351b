"""Neither the key nor personal data is in anything that a failing process says or pickles."""

from __future__ import annotations

import base64
import json
import os
import re
import secrets
import subprocess
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from raw_server import Peer, RawServer, Request, clean_environment
from whisperr import Whisperr

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.timeout(300)  # it waits more than it works

TESTS = Path(__file__).parent
#: No part of a word that anyone says by chance.
SECRET = secrets.token_hex(12)
KEY = f"wrk_{SECRET}"
MARK = f"zq{secrets.token_hex(6)}"
STATUSES = (
    *(200, 202, 204, 299, 301, 302, 303, 304, 307, 308),
    *(400, 401, 403, 404, 405, 407, 408, 409, 410, 413, 415, 421, 422, 425, 429),
    *(500, 502, 503, 504, 507),
)
BODY = json.dumps({"error": {"code": KEY, "message": f"{KEY} may not say {MARK} ({KEY})"}}).encode()
#: Everything that an answer may have, each with the key in it.
HEADERS = "\r\n".join(
    [
        f"Content-Length: {len(BODY)}",
        f"Location: https://elsewhere.example/{KEY}/?key={KEY}#{KEY}",
        f"Retry-After: {KEY}",
        f"Server: {KEY}",
        f"Set-Cookie: key={KEY}",
        f"WWW-Authenticate: Key {KEY}",
        f"X-API-Key: {KEY}",
    ]
)
#: What is no answer, or a strange one.
ODDITIES = {
    "garbage": f"SSH-2.0-{KEY}\r\n\r\n",
    "a status that is no number": f"HTTP/1.1 {KEY} {KEY}\r\n\r\n",
    "a header without a colon": f"HTTP/1.1 503 No\r\n{KEY}\r\nX: {KEY}\r\n\r\n",
    "a length that is none": f"HTTP/1.1 503 No\r\nContent-Length: {KEY}\r\n\r\n{KEY}",
    "a chunk that is none": f"HTTP/1.1 503 No\r\nTransfer-Encoding: chunked\r\n\r\n{KEY}\r\n{KEY}",
    "an encoding that is none": f"HTTP/1.1 503 No\r\nContent-Encoding: {KEY}\r\n\r\n{KEY}",
    "interim answers": f"HTTP/1.1 103 {KEY}\r\nLink: <{KEY}>\r\n\r\nHTTP/1.1 401 {KEY}\r\n\r\n",
    "a header without an end": f"HTTP/1.1 503 {KEY}\r\nX: {KEY}",
    "an endless header": f"HTTP/1.1 503 {KEY}\r\nX: {KEY * 4000}\r\n\r\n",
    "nothing": "",
}
ANSWERS = [
    *(
        f"HTTP/1.1 {status} {KEY}\r\n{HEADERS}\r\n\r\n".encode()
        + (b"" if status in (204, 304) else BODY)
        for status in STATUSES
    ),
    *(text.encode() for text in ODDITIES.values()),
]
REFUSED = f"HTTP/1.1 401 No\r\n{HEADERS}\r\n\r\n".encode() + BODY


@dataclass(frozen=True)
class Said:
    """What a process left behind: printed and logged, pickled, and the service's own words."""

    output: str = field(repr=False)
    pickles: bytes = field(repr=False)
    service_messages: str = field(repr=False)
    requests: list[Request] = field(repr=False)

    @property
    def reports(self) -> list[dict[str, Any]]:
        lines = self.output.splitlines()
        return [json.loads(line[7:]) for line in lines if line.startswith("REPORT ")]


def quote(peer: Peer) -> None:
    """The first part of the path says which answer is wanted."""
    request = peer.read_request()
    if request is not None:
        wanted = request.line.split("/")[1]
        peer.send(ANSWERS[int(wanted)] if wanted.isdigit() else REFUSED)


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Said]:
    folder = tmp_path_factory.mktemp("secrecy")
    with RawServer(quote) as server:
        process = subprocess.run(
            [sys.executable, str(TESTS / "secrecy_scenarios.py"), str(folder), str(len(ANSWERS))],
            env={
                **clean_environment(),
                "PYTHONPATH": os.pathsep.join(sys.path),
                "LAB_MARK": MARK,
                "WHISPERR_API_KEY": KEY,
                "WHISPERR_BASE_URL": server.url,
            },
            capture_output=True,
            text=True,
            timeout=250,
        )
        assert process.returncode == 0, process.stderr
        yield Said(
            process.stdout + process.stderr,
            (folder / "pickles").read_bytes(),
            (folder / "service_messages").read_text(),
            list(server.requests),
        )


def test_everything_failed_and_much_was_said(said: Said) -> None:
    assert len(said.requests) > len(ANSWERS)
    assert all(request.headers["x-api-key"] == KEY for request in said.requests)
    assert any(MARK in request.body.decode() for request in said.requests)
    types = {report["type"] for report in said.reports}
    assert types == {"auth", "dropped", "retry_exhausted", "stalled", "environment"}
    for words in ("urllib3.connectionpool", "whisperr: auth", "Traceback", "OddError", "Thread"):
        assert words in said.output
    assert "[API key]" in said.output + said.service_messages


def test_neither_the_key_nor_personal_data_is_in_anything(said: Said) -> None:
    """But for the service's own words: they stand in a field of their own, without the key."""
    everything = said.output + said.pickles.decode("latin-1")
    for form in (SECRET, base64.b64encode(KEY.encode()).decode().rstrip("="), KEY.encode().hex()):
        leaks = surroundings(form, everything + said.service_messages)
        assert not leaks, leaks[:3]
    leaks = surroundings(MARK, everything)
    assert not leaks, leaks[:3]
    assert MARK in said.service_messages


def surroundings(word: str, text: str) -> list[str]:
    """Where a word occurs, cut short: pytest takes minutes to compare what was said."""
    return [text[max(0, found.start() - 80) :][:200] for found in re.finditer(word, text)]


@pytest.mark.parametrize(
    "wrong",
    [{"flush_at": 0}, {"no_option": 1}, {"debug": "yes"}, {"base_url": "ftp://x"}, {"on_error": 1}],
    ids=lambda wrong: next(iter(wrong)),
)
def test_no_frame_of_a_failed_construction_shows_the_key_under_another_name(
    wrong: dict[str, Any],
) -> None:
    """Error trackers send the locals of each frame, of a sequence or a dict the items.

    They hide what is called api_key.
    """
    with pytest.raises((TypeError, ValueError)) as raised:
        Whisperr(KEY, **wrong)
    frames = [entry.frame.f_locals for entry in raised.traceback[1:]]
    assert frames
    for names in frames:
        shown = {name: _as_sent(value) for name, value in names.items() if name != "api_key"}
        assert SECRET not in str(shown), shown


def _as_sent(value: object) -> str:
    if isinstance(value, Mapping):
        return str({_as_sent(key): _as_sent(item) for key, item in value.items()})
    if isinstance(value, Iterable) and not isinstance(value, str):
        return str([_as_sent(item) for item in value])
    try:
        return repr(value)
    except AttributeError:  # of what is not made yet
        return ""
