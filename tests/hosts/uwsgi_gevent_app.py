"""The application as gevent's own documents have it: patched before anything else."""

from gevent import monkey

monkey.patch_all()

from hosts.application import application  # noqa: E402

__all__ = ["application"]
