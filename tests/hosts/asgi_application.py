"""The ASGI application behind the middleware.

LAB_TERM: `ignored` has its process ignore SIGTERM, as docs/hosts.md has it for hypercorn.
"""

from __future__ import annotations

import os
import signal

from hosts.application import asgi, client
from whisperr.asgi import WhisperrMiddleware

if os.environ.get("LAB_TERM") == "ignored":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)

application = WhisperrMiddleware(asgi, client)
