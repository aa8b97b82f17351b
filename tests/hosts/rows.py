"""Every row of the table, in its order."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hosts import asgi_rows, celery_rows, gunicorn_rows, process_rows, queue_rows

if TYPE_CHECKING:
    from hosts.row import Row

ALL_ROWS: list[Row] = [
    *gunicorn_rows.ROWS,
    *asgi_rows.ROWS,
    *celery_rows.ROWS,
    *queue_rows.ROWS,
    *process_rows.ROWS,
]
