"""OpenSSL's one-time work is done at import, in the process that others are forked from."""

from __future__ import annotations

import contextlib
import os
import ssl
import sys
from typing import TYPE_CHECKING

import pytest

from forked import in_child, os_fork, raw_fork
from whisperr import _openssl
from whisperr._fork import identity

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")


def test_the_handshake_comes_as_far_as_to_keys_for_the_session() -> None:
    """A cipher stands once ServerHello was taken and the keys were derived from it."""
    made = []

    class Context(ssl.SSLContext):
        def wrap_bio(self, *args: object, **keywords: object) -> ssl.SSLObject:
            made.append(super().wrap_bio(*args, **keywords))  # type: ignore[arg-type]
            return made[-1]

    _openssl._shake_hands(Context(ssl.PROTOCOL_TLS_CLIENT))
    assert made[0].cipher() == ("TLS_AES_256_GCM_SHA384", "TLSv1.3", 256)


def test_a_certificate_of_the_bundle_is_parsed() -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(cadata=_openssl._first_certificate())
    assert len(context.get_ca_certs()) == 1


@pytest.mark.parametrize("content", [None, "no certificate in it"])
def test_a_bundle_that_cannot_be_read_costs_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str | None
) -> None:
    bundle = tmp_path / "bundle.pem"
    if content is not None:
        bundle.write_text(content)
    monkeypatch.setattr(_openssl, "DEFAULT_CA_BUNDLE_PATH", str(bundle))
    _openssl.warm_up()


@needs_fork
@pytest.mark.parametrize("fork", [os_fork, raw_fork])
def test_a_child_draws_from_its_generators_only_after_it_made_a_context(
    monkeypatch: pytest.MonkeyPatch, fork: Callable[[], int]
) -> None:
    """A lock that the fork copied held would stop every thread of the child, not one."""
    draws = []
    monkeypatch.setattr(_openssl, "_seed", lambda: draws.append(os.getpid()))

    def child() -> list[int]:
        seen = []
        for _ in range(3):
            with _openssl.seeded():
                seen.append(draws.count(os.getpid()))
        return seen

    assert in_child(child, fork) == [0, 1, 2]
    with _openssl.seeded():
        assert draws == [os.getpid()]


@needs_fork
def test_a_context_that_could_not_be_made_proves_nothing() -> None:
    def child() -> bool:
        with contextlib.suppress(OSError), _openssl.seeded():
            raise OSError
        return _openssl._proven == identity()

    assert in_child(child) is False


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere OpenSSL may be linked statically")
def test_both_generators_are_drawn_from_where_openssl_has_two() -> None:
    drawn = _openssl._seeder()()
    assert drawn == (1, 1)
