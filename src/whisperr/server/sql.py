"""The statements of the store; nothing else speaks SQL."""

from __future__ import annotations

SCHEMA = """
PRAGMA journal_mode = WAL;
PRAGMA synchronous = OFF;
CREATE TABLE IF NOT EXISTS apps (id INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE);
CREATE TABLE IF NOT EXISTS connections (
    id INTEGER PRIMARY KEY, host TEXT NOT NULL, port INTEGER NOT NULL, pid INTEGER, created REAL);
CREATE TABLE IF NOT EXISTS requests (
    id INTEGER PRIMARY KEY, app INTEGER NOT NULL, connection INTEGER NOT NULL, path TEXT NOT NULL,
    received_at TEXT NOT NULL, user_agent TEXT NOT NULL, status INTEGER,
    answered INTEGER NOT NULL DEFAULT 0, operations INTEGER NOT NULL, rejected INTEGER NOT NULL,
    problem TEXT, body TEXT);
CREATE INDEX IF NOT EXISTS requests_of_app ON requests (app);
CREATE TABLE IF NOT EXISTS arrivals (
    seq INTEGER PRIMARY KEY, app INTEGER NOT NULL, request INTEGER NOT NULL, kind TEXT NOT NULL,
    position INTEGER, message_id TEXT, external_user_id TEXT, event_type TEXT, occurred_at TEXT);
CREATE INDEX IF NOT EXISTS arrivals_of_app ON arrivals (app);
CREATE INDEX IF NOT EXISTS arrivals_of_id ON arrivals (app, message_id);
CREATE INDEX IF NOT EXISTS arrivals_of_user ON arrivals (app, external_user_id);
"""

# {app} becomes a comparison with one app, or one that every app passes.
_ARRIVALS = """
SELECT a.seq, a.request, r.connection, c.pid, c.created, r.answered, r.status, a.kind,
    a.message_id, a.external_user_id, a.event_type, a.occurred_at, a.position
FROM arrivals a JOIN requests r ON r.id = a.request JOIN connections c ON c.id = r.connection
"""
# Of several arrivals of one message id the first was applied.
_APPLIED = """ NOT EXISTS (SELECT 1 FROM arrivals b
    WHERE b.app = a.app AND b.message_id = a.message_id AND b.seq < a.seq) """
_PAGE = " AND a.seq > :after ORDER BY a.seq LIMIT :limit"
ALL_ARRIVALS = _ARRIVALS + " WHERE a.app {app}" + _PAGE
EVENTS = _ARRIVALS + " WHERE a.app {app} AND a.kind = 'event' AND " + _APPLIED + _PAGE
TIMELINE = _ARRIVALS + " WHERE a.app {app} AND a.external_user_id = :user AND " + _APPLIED + _PAGE
_IS_REPEATED = """ (a.app, a.message_id) IN (SELECT app, message_id FROM arrivals
    WHERE app {app} AND message_id IS NOT NULL GROUP BY app, message_id HAVING count(*) > 1)"""
REPEATED = _ARRIVALS + " WHERE" + _IS_REPEATED
REQUESTS = """
SELECT id, connection, path, received_at, user_agent, status, answered, operations, rejected,
    problem, body
FROM requests WHERE app {app} AND id > :after ORDER BY id LIMIT :limit
"""
COUNTS = """
SELECT (SELECT count(*) FROM requests WHERE app {app}) AS requests,
    (SELECT count(DISTINCT connection) FROM requests WHERE app {app}) AS connections,
    (SELECT count(*) FROM arrivals WHERE app {app}) AS arrivals,
    (SELECT count(*) FROM (SELECT DISTINCT app, message_id FROM arrivals
        WHERE app {app} AND message_id IS NOT NULL)) AS events,
    (SELECT count(*) FROM arrivals WHERE app {app} AND message_id IS NULL) AS identifies,
    (SELECT coalesce(sum(rejected), 0) FROM requests WHERE app {app}) AS rejected
"""
PROCESSES = """
WITH sent AS (
    SELECT c.pid, c.created, count(DISTINCT c.id) AS connections, count(*) AS requests
    FROM requests r JOIN connections c ON c.id = r.connection
    WHERE r.app {app} GROUP BY c.pid, c.created),
arrived AS (
    SELECT c.pid, c.created, count(*) AS arrivals, count(DISTINCT a.message_id) AS events,
        sum(a.kind = 'identify') AS identifies
    FROM arrivals a JOIN requests r ON r.id = a.request JOIN connections c ON c.id = r.connection
    WHERE a.app {app} GROUP BY c.pid, c.created)
SELECT s.pid, s.created, s.connections, s.requests, coalesce(a.arrivals, 0) AS arrivals,
    coalesce(a.events, 0) AS events, coalesce(a.identifies, 0) AS identifies
FROM sent s LEFT JOIN arrived a ON a.pid IS s.pid AND a.created IS s.created
ORDER BY s.created, s.pid
"""

INSERT_APP = "INSERT OR IGNORE INTO apps (key) VALUES (?)"
FIND_APP = "SELECT id FROM apps WHERE key = ?"
INSERT_CONNECTION = "INSERT INTO connections (host, port, pid, created) VALUES (?, ?, ?, ?)"
INSERT_REQUEST = """
INSERT INTO requests (app, path, connection, received_at, user_agent, status, body,
    operations, rejected, problem) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
"""
INSERT_ARRIVAL = """
INSERT INTO arrivals (app, request, kind, position, message_id, external_user_id, event_type,
    occurred_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?)
"""
MARK_ANSWERED = "UPDATE requests SET answered = 1 WHERE id = ?"
FIND_BODY = "SELECT body FROM requests WHERE id = ?"
