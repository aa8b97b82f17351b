"""Report from a Django project: a middleware, one client for the project, ``manage.py whisperr``.

Importing it needs neither settings nor apps.
"""

from whisperr.django.binding import DjangoRequestClient, WhisperrRequest
from whisperr.django.configuration import get_client
from whisperr.django.middleware import WhisperrMiddleware

__all__ = ["DjangoRequestClient", "WhisperrMiddleware", "WhisperrRequest", "get_client"]
