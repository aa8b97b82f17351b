"""gunicorn's hooks, which note the role as hosts_role.py does. For --preload only."""

from __future__ import annotations


def when_ready(_server: object) -> None:
    """In the master."""
    _note("when_ready")


def pre_fork(_server: object, _worker: object) -> None:
    """In the master, inside the call that makes a worker."""
    _note("pre_fork")


def post_fork(_server: object, _worker: object) -> None:
    """In the worker, before it handles signals."""
    _note("post_fork")


def _note(where: str) -> None:
    import hosts_role  # here: gunicorn reads this file before it makes its arbiter

    hosts_role.note(where)
