"""OpenSSL's one-time work, done before a process can fork.

The first context and the first handshake of a process initialise tables and look up
algorithms under global locks that no fork hook frees. Forked meanwhile, a child can hang
at its own first handshake for ever (docs/forks.md has the rates). So the same code runs
once at import, without a socket: afterwards the tables are only read.
"""

from __future__ import annotations

import os
import ssl
import sys
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from requests.utils import DEFAULT_CA_BUNDLE_PATH

from ._fork import identity

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_BEGIN, _END = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"
#: The first certificate of a bundle stands before this many characters.
_ENOUGH = 50_000
#: supported_versions: TLS 1.3. key_share: X25519, the curve's base point as the public key.
_EXTENSIONS = bytes.fromhex("002b0002030400330024001d002009") + bytes(31)
_TLS_AES_256_GCM_SHA384 = b"\x13\x02"

#: The process in which OpenSSL's locks are known to be free: no fork copied one held.
_proven = identity()


def warm_up() -> None:
    """Parse a certificate, then shake hands as far as a client comes without its server."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    # An OpenSSL that cannot do a part of it (FIPS, LibreSSL) has been warmed by the rest.
    with suppress(OSError, ValueError):
        context.load_verify_locations(cadata=_first_certificate())
    with suppress(OSError, ValueError, IndexError):
        _shake_hands(context)


@contextmanager
def seeded() -> Iterator[None]:
    """Make the calling thread's random generators, then do in here what needs them.

    They take their seed from one generator of the process, under a lock: of the children that
    hung in OpenSSL most hung there. With the GIL held no `os.fork` comes in between. Where a
    fork may have copied that lock, the first thread goes without: it would stop all the others.
    """
    global _proven
    here = identity()
    if _proven == here:
        _seed()
    yield
    _proven = here


def _seeder() -> Callable[[], object]:
    """Draws a byte from both generators of the calling thread, with the GIL held."""

    def public_only() -> object:
        return ssl.RAND_bytes(1)

    try:
        import ctypes

        library: Any = ctypes.PyDLL(getattr(sys.modules["_ssl"], "__file__", None))
        public, private = library.RAND_bytes, library.RAND_priv_bytes
    except (ImportError, OSError, AttributeError):  # no libffi, linked statically, LibreSSL
        return public_only
    byte = ctypes.create_string_buffer(1)
    return lambda: (public(byte, 1), private(byte, 1))


_seed = _seeder()


def _shake_hands(context: ssl.SSLContext) -> None:
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = context.wrap_bio(incoming, outgoing, server_hostname="localhost")
    with suppress(ssl.SSLWantReadError):
        client.do_handshake()
    incoming.write(_server_hello(outgoing.read()))
    with suppress(ssl.SSLWantReadError):  # it wants the server's certificate now
        client.do_handshake()


def _server_hello(client_hello: bytes) -> bytes:
    """The answer that makes the client derive its keys (RFC 8446, section 4.1.3)."""
    # In front of the session id: record header 5, message header 4, version 2, random 32.
    session = client_hello[43 : 44 + client_hello[43]]
    body = b"".join(
        (
            b"\x03\x03",
            os.urandom(32),
            session,
            _TLS_AES_256_GCM_SHA384,
            b"\x00",
            len(_EXTENSIONS).to_bytes(2, "big"),
            _EXTENSIONS,
        )
    )
    message = b"\x02" + len(body).to_bytes(3, "big") + body
    return b"\x16\x03\x03" + len(message).to_bytes(2, "big") + message


def _first_certificate() -> str:
    with open(DEFAULT_CA_BUNDLE_PATH, encoding="utf-8") as bundle:
        text = bundle.read(_ENOUGH)
    start = text.index(_BEGIN)
    return text[start : text.index(_END, start) + len(_END)]
