"""A requests adapter of our own: one connection, one TLS context, no lock in its pools."""

from __future__ import annotations

import http.client
import os
import queue
import ssl
import sys
from collections import deque
from typing import TYPE_CHECKING, Any

import requests.adapters
from requests.utils import DEFAULT_CA_BUNDLE_PATH
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.poolmanager import PoolManager

from . import _openssl
from ._connection import DeadlineSocket, connect

if TYPE_CHECKING:
    from ._connection import Exchange
    from ._fork import Owner


_openssl.warm_up()


class _LastAnswer(http.client.HTTPResponse):
    """Reads past every 1xx.

    http.client reads past 100 only: it takes a 103 for the answer, and the answer that
    follows for that of the next request.
    """

    def _read_status(self) -> tuple[Any, int, Any]:
        while True:
            version, status, reason = super()._read_status()  # type: ignore[misc]
            if not 100 <= status < 200:
                return version, status, reason
            http.client.parse_headers(self.fp)

    def begin(self) -> None:
        """See http.client; urllib3 would log what it cannot parse, and that may quote the key."""
        super().begin()
        self.headers.defects.clear()
        self.headers.set_payload("")


def _queue_class(owner: Owner) -> Any:
    """Where a pool keeps its idle connections."""

    class IdleConnections:
        """Stands in for queue.LifoQueue, whose lock may be held in the moment of a fork.

        urllib3 empties it at interpreter exit, also in a child that never used the pool;
        there it is empty, so that nothing of the parent's is closed.
        """

        def __init__(self, maxsize: int = 0) -> None:
            self._maxsize = maxsize
            self._idle: deque[Any] = deque()

        def put(self, item: Any, block: bool = True, timeout: float | None = None) -> None:
            del block, timeout  # a full pool is never waited for
            if self._maxsize and len(self._idle) >= self._maxsize:
                raise queue.Full
            self._idle.append(item)

        def get(self, block: bool = True, timeout: float | None = None) -> Any:
            del block, timeout
            if not owner.holds():
                raise queue.Empty
            try:
                return self._idle.pop()
            except IndexError:
                raise queue.Empty from None

        def qsize(self) -> int:
            return len(self._idle)

    return IdleConnections


def _pool_classes(exchange: Exchange) -> dict[str, type[HTTPConnectionPool]]:
    """Pools and connections that belong to the exchange's transport."""
    queue_class = _queue_class(exchange.owner)

    class PlainConnection(HTTPConnection):
        response_class = _LastAnswer

        def _new_conn(self) -> Any:
            return connect(self, exchange)

    class SecureConnection(HTTPSConnection):
        response_class = _LastAnswer

        def _new_conn(self) -> Any:
            return connect(self, exchange)

        def connect(self) -> None:
            config = self.proxy_config
            if config is not None and config.ssl_context is None:
                # An https proxy: urllib3 would make a context for it that obeys no deadline.
                self.proxy_config = config._replace(ssl_context=self.ssl_context)
            super().connect()

    class PlainPool(HTTPConnectionPool):
        ConnectionCls = PlainConnection
        QueueCls = queue_class

    class SecurePool(HTTPSConnectionPool):
        ConnectionCls = SecureConnection
        QueueCls = queue_class

    return {"http": PlainPool, "https": SecurePool}


def free_pools_of_locks(adapter: Any, owner: Owner) -> None:
    """Give an adapter of the user's pools whose queue has no lock; the rest of it stays.

    A lock that is held at a fork would hang the child at its exit. A pool that blocks while it
    is empty keeps its queue: the application may wait for connections there.
    """
    manager = getattr(adapter, "poolmanager", None)
    if not isinstance(manager, PoolManager) or manager.connection_pool_kw.get("block"):
        return
    classes: dict[str, Any] = dict(manager.pool_classes_by_scheme)
    own_queue = {"QueueCls": _queue_class(owner)}
    for scheme, pool in classes.items():
        if pool.QueueCls is queue.LifoQueue:
            classes[scheme] = type(pool.__name__, (pool,), own_queue)
    manager.pool_classes_by_scheme = classes


def _tls_context(exchange: Exchange, verify: bool | str | None) -> ssl.SSLContext:
    """A context with exactly the trust that requests would give.

    `ssl.SSLContext` is looked up now, since gevent replaces it, and a context of the class
    that it replaced ends in a RecursionError. `ssl.create_default_context` would add the
    system's store to the bundle that the user chose.
    """

    class DeadlineContext(ssl.SSLContext):
        def wrap_socket(self, sock: Any, *args: Any, **keywords: Any) -> Any:
            if not isinstance(sock, DeadlineSocket):
                return super().wrap_socket(sock, *args, **keywords)
            keywords["do_handshake_on_connect"] = False
            secure = DeadlineSocket(super().wrap_socket(sock.raw, *args, **keywords), exchange)
            try:
                secure.handshake()
            except BaseException:
                secure.close()
                raise
            return secure

        def load_verify_locations(
            self, cafile: Any = None, capath: Any = None, cadata: Any = None
        ) -> None:
            # urllib3 asks for it at every connection; reading a bundle takes some 20 ms.
            if (cafile, capath, cadata) not in loaded:
                super().load_verify_locations(cafile, capath, cadata)
                loaded.add((cafile, capath, cadata))

    loaded: set[tuple[Any, Any, Any]] = set()
    context = DeadlineContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.hostname_checks_common_name = False
    context.post_handshake_auth = True
    if sys.version_info >= (3, 13):
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN | ssl.VERIFY_X509_STRICT
    if not verify:
        context.check_hostname = False  # before verify_mode, which refuses otherwise
        context.verify_mode = ssl.CERT_NONE
    else:
        # Not left to urllib3: it loads nothing for an https proxy, and requests 2.32.3 and
        # 2.32.4 name no bundle for True, since they have a context of their own.
        bundle = DEFAULT_CA_BUNDLE_PATH if verify is True else verify
        is_folder = os.path.isdir(bundle)
        context.load_verify_locations(*(None, bundle) if is_folder else (bundle, None))
    return context


class DeadlineAdapter(requests.adapters.HTTPAdapter):
    """Keeps one connection, one TLS context for each trust, and the exchange's deadline."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._pool_classes = _pool_classes(exchange)
        self._contexts: dict[tuple[Any, Any], ssl.SSLContext] = {}
        super().__init__(pool_connections=1, pool_maxsize=1, max_retries=0)

    def init_poolmanager(self, *args: Any, **keywords: Any) -> None:
        """See requests: our pool classes in a manager of urllib3's."""
        super().init_poolmanager(*args, **keywords)
        self.poolmanager.pool_classes_by_scheme = self._pool_classes

    def proxy_manager_for(self, proxy: str, **keywords: Any) -> Any:
        """See requests: our pool classes for proxies, except SOCKS, which has its own."""
        manager = super().proxy_manager_for(proxy, **keywords)
        if not proxy.lower().startswith("socks"):
            manager.pool_classes_by_scheme = self._pool_classes
        return manager

    def build_connection_pool_key_attributes(
        self, request: Any, verify: Any, cert: Any = None
    ) -> tuple[Any, Any]:
        """See requests: adds our TLS context."""
        host, pool = super().build_connection_pool_key_attributes(request, verify, cert)
        if host.get("scheme") == "https":
            with _openssl.seeded():
                pool["ssl_context"] = self._context((verify, cert))
        return host, pool

    def _context(self, key: tuple[Any, Any]) -> ssl.SSLContext:
        context = self._contexts.get(key)
        if context is None:
            context = self._contexts[key] = _tls_context(self._exchange, key[0])
        return context

    def build_response(self, request: Any, answer: Any) -> Any:
        """See requests: hides the Location.

        For the next request, which is never made, requests would read the whole body and .netrc.
        """
        response = super().build_response(request, answer)
        response.headers.pop("Location", None)
        return response
