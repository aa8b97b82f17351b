"""OpenSSL's one-time work is done at import, in the process that others are forked from."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

import pytest

from whisperr import _openssl

if TYPE_CHECKING:
    from pathlib import Path


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
