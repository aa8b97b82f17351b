"""Hooks for gunicorn.conf.py: ``whisperr.gunicorn.install(globals())`` at its end.

gunicorn needs none of them for a client to deliver, except with uvicorn's workers. They make
the end of a worker fit into gunicorn's timeouts and say in its log what was delivered.
"""

from __future__ import annotations

import importlib
import math
import signal
import sys
import weakref
from collections.abc import Callable, MutableMapping
from typing import Any

from whisperr import after_fork, before_exit

Hook = Callable[..., None]

_chained: weakref.WeakSet[Hook] = weakref.WeakSet()


def post_fork(server: Any, worker: Any) -> None:  # noqa: ARG001 - gunicorn's signature
    """Look for the fork now; without preload there is no client yet, and nothing to do."""
    after_fork()


def post_worker_init(worker: Any) -> None:
    """Import what a request would otherwise wait for; have uvicorn's workers end by an exit."""
    import psutil  # noqa: F401 - stats() asks for it

    if any(base.__module__.startswith("uvicorn") for base in type(worker).__mro__):
        _exit_on_termination(worker)


def _exit_on_termination(worker: Any) -> None:
    # uvicorn puts back the handler it found and raises the signal once more: by default, that
    # kills the worker before any hook has run. A handler of the application's own stays.
    present = signal.getsignal(signal.SIGTERM)
    if present is signal.SIG_DFL or getattr(present, "__self__", None) is worker:
        signal.signal(signal.SIGTERM, _exit)


def _exit(*_: object) -> None:
    sys.exit(0)


def worker_exit(server: Any, worker: Any) -> None:  # noqa: ARG001 - gunicorn's signature
    """Deliver what the worker holds, within gunicorn's own timeouts; log what came of it."""
    try:
        result = before_exit(within=_seconds(worker.cfg))
        if result.delivered or result.queued:
            worker.log.info(
                "Whisperr delivered %d operations of this worker, %d are left.",
                result.delivered,
                result.queued,
            )
    except Exception:
        worker.log.exception("Whisperr: the delivery at the end of the worker failed.")


def _seconds(cfg: Any) -> float:
    """Half of what gunicorn gives a worker that ends, and one that does not report to it."""
    limits = [float(cfg.graceful_timeout), float(cfg.timeout)]
    return min((limit / 2 for limit in limits if limit > 0), default=math.inf)


def install(config: MutableMapping[str, Any]) -> None:
    """Add the hooks to a configuration, beside its own. Twice does no harm.

    Its own `worker_exit` and `post_worker_init` run first, its `post_fork` afterwards.

    Args:
        config: ``globals()`` of gunicorn.conf.py, below its own hooks.
    """
    _chain(config, "post_fork", lambda theirs: _two(post_fork, theirs))
    _chain(config, "post_worker_init", lambda theirs: _one(theirs, post_worker_init))
    _chain(config, "worker_exit", lambda theirs: _two(theirs, worker_exit))


def _chain(config: MutableMapping[str, Any], name: str, chained: Callable[[Hook], Hook]) -> None:
    ours: Hook = globals()[name]
    theirs = config.get(name)
    if theirs is None:
        config[name] = ours
    elif theirs is not ours and theirs not in _chained:
        config[name] = hook = chained(_loaded(theirs))
        _chained.add(hook)


def _loaded(hook: Hook | str) -> Hook:
    """Gunicorn takes the dotted name of a hook as well."""
    if not isinstance(hook, str):
        return hook
    module, _, name = hook.rpartition(".")
    loaded: Hook = getattr(importlib.import_module(module), name)
    return loaded


# gunicorn counts the parameters of a hook: no wrapper may take any number of them.


def _two(first: Hook, second: Hook) -> Hook:
    def hook(server: Any, worker: Any) -> None:
        try:
            first(server, worker)
        finally:
            second(server, worker)

    return hook


def _one(first: Hook, second: Hook) -> Hook:
    def hook(worker: Any) -> None:
        try:
            first(worker)
        finally:
            second(worker)

    return hook
