"""What arrived, in SQLite; used on the event loop alone."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING, Any, NamedTuple

from whisperr.server import sql
from whisperr.server.ledger import arrivals_from, judge, message_id
from whisperr.server.parsing import decode

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from whisperr.server.parsing import Parsed
    from whisperr.server.peers import Process

Row = dict[str, Any]


class Received(NamedTuple):
    """One request as it is recorded.

    `status` is the answer that is meant to be written (None: there will be none), `body` None
    where the body was not read to its end.
    """

    key: str
    path: str
    connection: int
    received_at: str
    user_agent: str
    status: int | None
    body: str | None


class Store:
    """The single owner of the database.

    Args:
        file: The database file, or `:memory:`.

    Raises:
        sqlite3.Error: The file cannot be opened as a database and written to.

    """

    def __init__(self, file: str = ":memory:") -> None:
        self._db = sqlite3.connect(file, check_same_thread=False)
        self._db.row_factory = sqlite3.Row
        try:
            self._db.executescript(sql.SCHEMA)
        except sqlite3.Error:
            self._db.close()
            raise
        self._apps: dict[str, int] = {}

    def close(self) -> None:
        """Close the database."""
        self._db.close()

    def open_connection(self, host: str, port: int, process: Process | None) -> int:
        """Record a connection and return its number."""
        pid, created = process or (None, None)
        values = (host, port, pid, created)
        with self._db:
            return self._db.execute(sql.INSERT_CONNECTION, values).lastrowid or 0

    def record(self, received: Received, parsed: Parsed) -> int:
        """Record a request with its operations in one transaction and return its number."""
        with self._db:
            app = self._app(received.key)
            request = self._insert_request(app, received, parsed)
            rows = [(app, request, *operation) for operation in parsed.operations]
            self._db.executemany(sql.INSERT_ARRIVAL, rows)
        return request

    def _insert_request(self, app: int, received: Received, parsed: Parsed) -> int:
        counted = (len(parsed.operations), parsed.rejected, parsed.problem)
        values = (app, *received[1:], *counted)
        return self._db.execute(sql.INSERT_REQUEST, values).lastrowid or 0

    def _app(self, key: str) -> int:
        if key not in self._apps:
            self._db.execute(sql.INSERT_APP, (key,))
            found = self._db.execute(sql.FIND_APP, (key,)).fetchone()
            self._apps[key] = found["id"]
        return self._apps[key]

    def mark_answered(self, request: int) -> None:
        """Record that the answer to a request was written completely."""
        with self._db:
            self._db.execute(sql.MARK_ANSWERED, (request,))

    def counts(self, key: str | None) -> dict[str, int]:
        """Return how much is stored of the app with `key`, or of every app."""
        counts = dict(next(self._select(sql.COUNTS, key)))
        ledger = judge((), arrivals_from(self._select(sql.REPEATED, key), message_id))
        return {**counts, "twice": len(ledger.twice), "resent": len(ledger.resent)}

    def arrivals(self, key: str | None, after: int, limit: int) -> list[Row]:
        """Return the arrivals with a higher number than `after`, at most `limit`, in order."""
        return self._with_bodies(self._select(sql.ALL_ARRIVALS, key, after=after, limit=limit))

    def events(self, key: str | None, after: int, limit: int) -> list[Row]:
        """Return the events, each once (its first arrival), in order."""
        return self._with_bodies(self._select(sql.EVENTS, key, after=after, limit=limit))

    def timeline(self, key: str | None, user: str) -> list[Row]:
        """Return the events and identifies of a user in the order in which they were applied."""
        rows = self._select(sql.TIMELINE, key, user=user, after=0, limit=-1)
        return self._with_bodies(rows)

    def requests(self, key: str | None, after: int, limit: int) -> list[Row]:
        """Return the requests with a higher number than `after`, at most `limit`, in order."""
        rows = list(self._select(sql.REQUESTS, key, after=after, limit=limit))
        return [{**row, "answered": bool(row["answered"])} for row in rows]

    def processes(self, key: str | None) -> list[Row]:
        """Return what each sending process has sent."""
        return list(self._select(sql.PROCESSES, key))

    def _select(self, statement: str, key: str | None, **values: Any) -> Iterator[Row]:
        if key is None:
            rows = self._db.execute(statement.replace("{app}", "> 0"), values)
        else:
            app = self._db.execute(sql.FIND_APP, (key,)).fetchone()
            values["app"] = app["id"] if app else 0
            rows = self._db.execute(statement.replace("{app}", "= :app"), values)
        return (dict(row) for row in rows)

    def _with_bodies(self, rows: Iterable[Row]) -> list[Row]:
        """Add the body of each operation, cut out of the request that carried it."""
        carried: dict[int, Any] = {}
        found = list(rows)
        for row in found:
            request, position = row["request"], row.pop("position")
            if request not in carried:
                text = self._db.execute(sql.FIND_BODY, (request,)).fetchone()["body"]
                carried[request] = decode(text)
            body = carried[request]
            row["body"] = body if position is None else body["events"][position]
            row["answered"] = bool(row["answered"])
        return found
