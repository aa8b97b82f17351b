"""What `manage.py check` finds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from django.contrib.auth.middleware import AuthenticationMiddleware
from django.core.checks import run_checks
from django.test.utils import override_settings

from frameworks.django.project import AUTHENTICATION, OURS, SESSIONS

if TYPE_CHECKING:
    from django.core.checks import CheckMessage

KEY = "wrk_of_the_settings"


class OwnAuthentication(AuthenticationMiddleware):
    """As projects derive it."""


def function_middleware(get_response: Any) -> Any:
    return get_response


def found(**settings: Any) -> list[CheckMessage]:
    with override_settings(**{"WHISPERR_API_KEY": KEY, **settings}):
        return [message for message in run_checks() if (message.id or "").startswith("whisperr.")]


def ids(**settings: Any) -> list[str | None]:
    return [message.id for message in found(**settings)]


def test_a_sound_project_has_nothing_to_hear() -> None:
    assert found() == []
    assert found(WHISPERR={"flush_at": 50, "on_commit": True}) == []
    assert found(WHISPERR_API_KEY=None, WHISPERR_DISABLED=True) == []


def test_a_key_of_the_environment_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WHISPERR_API_KEY", KEY)
    assert found(WHISPERR_API_KEY=None) == []


def test_a_missing_key_is_an_error_that_says_what_to_set() -> None:
    (message,) = found(WHISPERR_API_KEY=None)
    assert message.id == "whisperr.E001"
    assert "WHISPERR_API_KEY" in message.msg
    assert "WHISPERR_DISABLED" in (message.hint or "")


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"WHISPERR": {"flush_at": 0}}, 'WHISPERR["flush_at"]'),
        ({"WHISPERR": {"flush_att": 1}}, "flush_att"),
        ({"WHISPERR": {"on_error": "no.such.module"}}, 'WHISPERR["on_error"]'),
    ],
)
def test_options_that_make_no_client_are_an_error(settings: dict[str, Any], text: str) -> None:
    messages = found(**settings)
    assert "whisperr.E001" in [message.id for message in messages]
    assert all(text in message.msg for message in messages)


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"WHISPERR_API_KEY": "wpk_publishable"}, "publishable"),
        ({"WHISPERR_BASE_URL": "http://events.example.com"}, "plain http"),
    ],
)
@pytest.mark.filterwarnings("error")
def test_what_a_client_warns_of_is_a_warning(settings: dict[str, Any], text: str) -> None:
    (message,) = found(**settings)
    assert message.id == "whisperr.W001"
    assert text in message.msg


@pytest.mark.parametrize(
    "settings",
    [
        {"WHISPERR_RESOLVE_USER": "no.such.resolver"},
        {"WHISPERR_RESOLVE_USER": f"{__name__}.missing"},
        {"WHISPERR": {"resolve_user": 7}},
        {"WHISPERR": {"on_commit": "yes"}},
    ],
)
def test_a_resolver_that_does_not_import_is_an_error(settings: dict[str, Any]) -> None:
    assert ids(**settings) == ["whisperr.E002"]


@pytest.mark.parametrize(
    "authentication", [AUTHENTICATION, f"{__name__}.OwnAuthentication"], ids=["Django's", "own"]
)
def test_a_middleware_before_authentication_is_a_warning(authentication: str) -> None:
    other = f"{__name__}.function_middleware"
    assert ids(MIDDLEWARE=[SESSIONS, OURS, other, authentication]) == ["whisperr.W002"]
    assert ids(MIDDLEWARE=[SESSIONS, other, authentication, OURS]) == []


def test_a_project_without_one_of_the_middlewares_is_sound() -> None:
    assert ids(MIDDLEWARE=[SESSIONS, AUTHENTICATION]) == []
    assert ids(MIDDLEWARE=[OURS]) == []
    assert ids(MIDDLEWARE=["no.such.Middleware", AUTHENTICATION, OURS]) == []
