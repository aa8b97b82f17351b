"""The app: system checks, and ``manage.py whisperr``."""

from django.apps import AppConfig
from django.core.checks import register


class WhisperrConfig(AppConfig):
    """For INSTALLED_APPS, as ``"whisperr.django"``."""

    name = "whisperr.django"
    label = "whisperr"
    verbose_name = "Whisperr"

    def ready(self) -> None:
        """Register the system checks."""
        from whisperr.django import checks

        for check in (checks.check_client, checks.check_request_settings, checks.check_middleware):
            register(check)
