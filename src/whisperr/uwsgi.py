"""For uWSGI: ``from uwsgidecorators import postfork``, then ``postfork(whisperr.uwsgi.post_fork)``.

A client that was made in the master needs it only where the application itself fills
``uwsgi.post_fork_hook`` later, which has room for one function.
"""

from __future__ import annotations

from whisperr import after_fork


def post_fork() -> None:
    """Look for the fork now; what the master queued goes to the first worker that asks.

    Harmless anywhere: twice, in the master, in mules and spoolers, outside of uWSGI.
    """
    after_fork()
