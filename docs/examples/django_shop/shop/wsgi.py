"""For gunicorn, uWSGI and others that fork. Nothing of Whisperr's is needed here."""

import os

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "shop.settings")
application = get_wsgi_application()
