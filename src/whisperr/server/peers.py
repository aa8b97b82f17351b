"""Which process stands behind a connection."""

from __future__ import annotations

import asyncio
import ipaddress
import os
import sys
from contextlib import suppress
from typing import Any, NamedTuple

import psutil

Link = tuple[int, int]  # the client's port and ours


class Process(NamedTuple):
    """A process, told from a later one with the same pid by its creation time (epoch seconds)."""

    pid: int
    created: float


class PeerFinder:
    """Finds the processes at the other ends; one look at the machine serves all who wait for it."""

    def __init__(self) -> None:
        self._turn = asyncio.Lock()
        self._next: asyncio.Task[dict[Link, list[int]]] | None = None

    async def find(self, host: str, link: Link) -> Process | None:
        """Return the process that opened a connection, None where that cannot be known.

        Of several holders (a socket is inherited over a fork) it is the one created first.

        Args:
            host: The peer's address; only a loopback peer is on this machine.
            link: The peer's port and ours.

        """
        if not ipaddress.ip_address(host).is_loopback:
            return None
        if self._next is None:
            self._next = asyncio.create_task(self._look())
        holders = await asyncio.shield(self._next)
        return _first_created(holders.get(link, []))

    async def _look(self) -> dict[Link, list[int]]:
        async with self._turn:
            self._next = None  # who asks from now on may have connected after this look
            return await asyncio.to_thread(_holders)


def _first_created(pids: list[int]) -> Process | None:
    found = [process for pid in pids if (process := _process(pid))]
    return min(found, key=lambda process: process.created, default=None)


def _process(pid: int) -> Process | None:
    try:
        return Process(pid, psutil.Process(pid).create_time())
    except psutil.Error:
        return None


def _holders() -> dict[Link, list[int]]:
    if not sys.platform.startswith("linux"):
        return _holders_by_process()
    links = _links_by_inode()
    holders: dict[Link, list[int]] = {}
    for pid in psutil.pids():
        for inode in _sockets_of(pid):
            if inode in links:
                holders.setdefault(links[inode], []).append(pid)
    return holders


def _holders_by_process() -> dict[Link, list[int]]:
    holders: dict[Link, list[int]] = {}
    for process in psutil.process_iter():
        try:
            connections = _connections(process)
        except psutil.Error:
            continue
        for connection in connections:
            if connection.raddr:
                link = (connection.laddr.port, connection.raddr.port)
                holders.setdefault(link, []).append(process.pid)
    return holders


def _connections(process: psutil.Process) -> list[Any]:
    read = getattr(process, "net_connections", None)  # its name since psutil 6
    return list(read("tcp") if read else process.connections("tcp"))


# psutil.net_connections() names one holder of a socket only, so Linux is asked itself.
def _links_by_inode() -> dict[str, Link]:
    links: dict[str, Link] = {}
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        try:
            with open(table, encoding="ascii") as lines:
                rows = [line.split() for line in lines.readlines()[1:]]
        except OSError:
            continue
        for row in rows:
            local, remote, inode = row[1], row[2], row[9]
            if inode != "0":
                links[inode] = (int(local[-4:], 16), int(remote[-4:], 16))
    return links


def _sockets_of(pid: int) -> set[str]:
    folder = f"/proc/{pid}/fd"
    try:
        descriptors = os.listdir(folder)
    except OSError:
        return set()  # the process ended, or is another user's
    inodes = set()
    for descriptor in descriptors:
        with suppress(OSError):  # closed in the meantime
            target = os.readlink(f"{folder}/{descriptor}")
            if target.startswith("socket:["):
                inodes.add(target[8:-1])
    return inodes
