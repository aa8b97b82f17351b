"""Bodies of the wire contract, and a client that speaks it over one keep-alive connection."""

from __future__ import annotations

import http.client
import json
import uuid
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from types import TracebackType

BATCH, TRACK, IDENTIFY = "/v1/events/batch", "/v1/events/track", "/v1/identify"


class Answer(NamedTuple):
    """What came back."""

    status: int
    body: Any
    headers: dict[str, str]


class Sender:
    """Sends bodies as an SDK does. Use it in a `with`, which closes its connection."""

    def __init__(self, url: str, key: str, timeout: float = 10.0) -> None:
        self._connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=timeout)
        self.headers = {
            "X-API-Key": key,
            "User-Agent": "whisperr-test/1",
            "Content-Type": "application/json",
        }

    def __enter__(self) -> Sender:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection; the next body opens another."""
        self._connection.close()

    def post(self, path: str, body: object) -> Answer:
        """Post a JSON value, or bytes as they are, and return the answer."""
        self.send(path, body)
        return self.answer()

    def send(self, path: str, body: object) -> None:
        """Post a JSON value, or bytes as they are, without reading the answer."""
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        self._connection.request("POST", path, raw, self.headers)

    def answer(self) -> Answer:
        """Return the answer to what was sent."""
        response = self._connection.getresponse()
        text = response.read()
        try:
            content = json.loads(text)
        except ValueError:
            content = text.decode()
        headers = {name.lower(): value for name, value in response.getheaders()}
        return Answer(response.status, content, headers)

    def batch(self, *events: dict[str, Any]) -> Answer:
        """Post events as one batch."""
        return self.post(BATCH, {"events": list(events)})


def moment(offset: timedelta = timedelta(), now: datetime | None = None) -> str:
    """Return `now` (None: real time) plus `offset` as the contract writes a moment."""
    when = (now or datetime.now(timezone.utc)) + offset
    return when.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def event(message_id: str | None = None, **fields: Any) -> dict[str, Any]:
    """Return a well-formed event of this moment, with `fields` in place of its own."""
    return {
        "external_user_id": "user_1",
        "event_type": "feature_used",
        "occurred_at": moment(),
        "properties": {},
        "context": {"$message_id": message_id or str(uuid.uuid4())},
        **fields,
    }
