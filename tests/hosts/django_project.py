"""Settings of a Django project that is run by its development server.

The reloader and the process that serves import it: each has a client of its own, and what
the reloader tracks at import it delivers itself.
"""

from __future__ import annotations

import importlib
import os
from typing import Any

if os.environ.get("RUN_MAIN"):  # the reloader's child
    os.environ["LAB_BOOT"] = "0"

from hosts import application  # noqa: F401 - as an application's own modules do

importlib.import_module("watched")

ALLOWED_HOSTS = ["*"]
ROOT_URLCONF = __name__
SECRET_KEY = "of the tests"
USE_TZ = True
WSGI_APPLICATION = "hosts.application.application"
urlpatterns: list[Any] = []
