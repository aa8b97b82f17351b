"""The ASGI application behind the middleware."""

from __future__ import annotations

from hosts.application import asgi, client
from whisperr.asgi import WhisperrMiddleware

application = WhisperrMiddleware(asgi, client)
