"""gevent patches after the client was made; run by test_hosts.py, one name each."""
# ruff: noqa: E402 - what this script is about

from __future__ import annotations

import sys
import time
import warnings

import lab

client = lab.client(flush_interval=3.0 if sys.argv[1:] == ["hub_stays_free"] else 0.2)

from gevent import monkey

warnings.simplefilter("ignore")
monkey.patch_all()

import gevent
import psutil

EACH = 40


def _track() -> None:
    for _ in range(EACH):
        lab.track(client)
        gevent.sleep(0)


def _delivered_while_running(count: int) -> None:
    with gevent.Timeout(10):
        while client.stats().delivered < count:
            gevent.sleep(0.01)
    lab.record_stats(client)


def pool_first() -> None:
    """A thread of gevent's pool tracks, and nobody else ever does."""
    gevent.get_hub().threadpool.apply(_track)
    _delivered_while_running(EACH)


def greenlet_first() -> None:
    gevent.joinall([gevent.spawn(_track)])
    gevent.get_hub().threadpool.apply(_track)
    _delivered_while_running(2 * EACH)


def hub_stays_free() -> None:
    """The sender is a greenlet here: one that waits in a lock of the kernel's stops all others."""
    lab.track(client)
    longest, last = 0.0, time.monotonic()
    until = last + 7.0  # its first look comes within 3 seconds, the second 3 seconds later
    while last < until:
        gevent.sleep(0.01)
        now = time.monotonic()
        longest, last = max(longest, now - last), now
    assert longest < 1.5, longest
    _delivered_while_running(1)


def pool_ends_idle() -> None:
    """The sender thread closes its connection: gevent cannot once that thread's hub is gone."""
    for _ in range(2):
        gevent.get_hub().threadpool.apply(lab.track, (client,))
        with gevent.Timeout(20):
            while client._local.get().has_sender():
                gevent.sleep(0.01)
        assert client.stats().delivered
        assert not psutil.Process().net_connections("tcp")
    lab.record_stats(client)


def both_at_once() -> None:
    pool = gevent.get_hub().threadpool
    jobs = [start(_track) for _ in range(3) for start in (pool.spawn, gevent.spawn)]
    gevent.joinall(jobs)
    assert client.flush(5)
    lab.track(client)  # delivered at the exit
    lab.record_stats(client)


if __name__ == "__main__":
    globals()[sys.argv[1]]()
