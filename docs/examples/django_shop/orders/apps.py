"""The app, and what is reported whenever a user logs in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.apps import AppConfig
from django.contrib.auth.signals import user_logged_in

from whisperr.django import get_client

if TYPE_CHECKING:
    from django.contrib.auth.base_user import AbstractBaseUser


def report_login(user: AbstractBaseUser, **_: Any) -> None:
    """Tell Whisperr who came. A signal's request need not have passed the middleware."""
    get_client().track(user.pk, "logged_in")


class OrdersConfig(AppConfig):
    """For INSTALLED_APPS."""

    name = "orders"

    def ready(self) -> None:
        """Hear of logins."""
        user_logged_in.connect(report_login)
