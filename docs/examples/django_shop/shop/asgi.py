"""For uvicorn, which runs no other hook at its end: ``uvicorn shop.asgi:application``."""

import os

from django.core.asgi import get_asgi_application

from whisperr.asgi import WhisperrMiddleware

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "shop.settings")
application = WhisperrMiddleware(get_asgi_application())
