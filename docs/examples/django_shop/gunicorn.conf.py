"""gunicorn for the shop: ``gunicorn shop.wsgi``."""

from whisperr.gunicorn import install

preload_app = True
workers = 2

install(globals())  # says in the log what each worker delivered at its end
