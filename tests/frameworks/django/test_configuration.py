"""The settings of a project, and the one client that they make."""

from __future__ import annotations

import gc
import subprocess
import sys
import threading
import weakref
from typing import TYPE_CHECKING, Any

import pytest
import requests
from django.core.exceptions import ImproperlyConfigured
from django.test.utils import override_settings

from frameworks.django.project import new_user, visit
from whisperr._options import Options
from whisperr.django import configuration, get_client

if TYPE_CHECKING:
    from frameworks.django.conftest import Reported
    from whisperr import Whisperr, WhisperrError

KEY = "wrk_of_the_settings"


def options() -> Options:
    return get_client()._options


def note_error(error: WhisperrError) -> None:
    """For a dotted path."""


def session() -> requests.Session:
    """For a dotted path."""
    return requests.Session()


def redact(operation: dict[str, Any], kind: str) -> dict[str, Any]:
    """For a dotted path."""
    operation["properties"] = {"kind": kind}
    return operation


SINGLE = {
    "WHISPERR_API_KEY": KEY,
    "WHISPERR_BASE_URL": "http://127.0.0.1:1",
    "WHISPERR_DISABLED": True,
    "WHISPERR_DEBUG": True,
    "WHISPERR_APP_VERSION": "2026.11",
}


@pytest.mark.parametrize("name", SINGLE)
def test_each_of_the_single_settings_is_an_option_and_wins_over_the_dict(name: str) -> None:
    option = name.removeprefix("WHISPERR_").lower()
    in_dict = {"api_key": "wrk_of_the_dict", option: None}
    with override_settings(WHISPERR=in_dict, **{name: SINGLE[name]}):
        assert getattr(options(), option) == SINGLE[name]


@pytest.mark.parametrize("name", SINGLE)
def test_a_single_setting_of_none_leaves_it_to_the_dict(name: str) -> None:
    option = name.removeprefix("WHISPERR_").lower()
    with override_settings(WHISPERR={"api_key": KEY, option: SINGLE[name]}, **{name: None}):
        assert getattr(options(), option) == SINGLE[name]


def test_what_no_setting_says_falls_back_to_the_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("WHISPERR_API_KEY", "wrk_of_the_environment")
    with override_settings(WHISPERR={}):
        assert options().api_key == "wrk_of_the_environment"


EVERY: dict[str, Any] = {
    "base_url": "http://127.0.0.1:1",
    "app_version": "1",
    "flush_at": 50,
    "flush_interval": 5.0,
    "max_queue_size": 100,
    "max_queue_bytes": 2**20,
    "max_batch_size": 100,
    "max_retries": 1,
    "request_timeout": 2.0,
    "shutdown_timeout": 1.0,
    "disabled": False,
    "debug": True,
    "on_error": note_error,
    "before_send": redact,
    "session_factory": session,
}


def test_the_dict_takes_every_option_of_the_client() -> None:
    assert {"api_key", *EVERY} == {*Options._fields}
    with override_settings(WHISPERR={"api_key": KEY, **EVERY}):
        made = options()
        assert {name: getattr(made, name) for name in EVERY} == EVERY


@pytest.mark.parametrize("name", ["on_error", "before_send", "session_factory"])
def test_a_callable_may_be_given_by_its_dotted_path(name: str) -> None:
    path = f"{__name__}.{EVERY[name].__name__}"
    with override_settings(WHISPERR={"api_key": KEY, name: path}):
        assert getattr(options(), name) is EVERY[name]


def test_a_before_send_of_the_settings_sees_what_a_request_tracks(reported: Reported) -> None:
    whole = {**reported.settings["WHISPERR"], "before_send": f"{__name__}.redact"}
    with override_settings(WHISPERR=whole):
        visit(lambda request: request.whisperr.track("page_viewed", {"card": 4}), new_user())
        assert [body["properties"] for body in reported.bodies] == [{"kind": "event"}]


def refused(**settings: Any) -> str:
    with override_settings(**settings), pytest.raises(ImproperlyConfigured) as raised:
        get_client()
    return str(raised.value)


def test_a_missing_key_is_named() -> None:
    assert refused().startswith("WHISPERR_API_KEY: ")


@pytest.mark.parametrize(
    ("settings", "place"),
    [
        ({"WHISPERR_API_KEY": "wrk_with a blank"}, "WHISPERR_API_KEY"),
        ({"WHISPERR": {"api_key": "wrk_with a blank"}}, 'WHISPERR["api_key"]'),
        ({"WHISPERR_BASE_URL": "ftp://127.0.0.1"}, "WHISPERR_BASE_URL"),
        ({"WHISPERR": {"base_url": "http://u:p@127.0.0.1"}}, 'WHISPERR["base_url"]'),
        ({"WHISPERR_DISABLED": "yes"}, "WHISPERR_DISABLED"),
        ({"WHISPERR_DEBUG": 1}, "WHISPERR_DEBUG"),
        ({"WHISPERR_APP_VERSION": 3}, "WHISPERR_APP_VERSION"),
        ({"WHISPERR": {"flush_at": 0}}, 'WHISPERR["flush_at"]'),
        ({"WHISPERR": {"flush_interval": "1"}}, 'WHISPERR["flush_interval"]'),
        ({"WHISPERR": {"on_error": 7}}, 'WHISPERR["on_error"]'),
        ({"WHISPERR": {"on_error": "no.such.module"}}, 'WHISPERR["on_error"]'),
        ({"WHISPERR": {"before_send": f"{__name__}.missing"}}, 'WHISPERR["before_send"]'),
    ],
)
def test_a_value_that_an_option_does_not_take_is_named_by_its_setting(
    settings: dict[str, Any], place: str
) -> None:
    message = refused(**{"WHISPERR_API_KEY": None, **_with_key(settings), **settings})
    assert message.startswith(place), message


def _with_key(settings: dict[str, Any]) -> dict[str, Any]:
    return {} if "api_key" in settings.get("WHISPERR", {}) else {"WHISPERR_API_KEY": KEY}


def test_names_that_the_dict_does_not_know_are_all_named() -> None:
    message = refused(WHISPERR={"flush_att": 1, "API_KEY": KEY, "flush_at": 1})
    assert "'flush_att', 'API_KEY'" in message
    assert "'flush_at'" not in message
    assert refused(WHISPERR=[("flush_at", 1)]).startswith("WHISPERR must be a dict")


def test_the_settings_of_requests_are_checked_when_the_middleware_is_made() -> None:
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"WHISPERR_RESOLVE_USER": "no.such.resolver"}, "WHISPERR_RESOLVE_USER"),
        ({"WHISPERR": {"resolve_user": 7}}, 'WHISPERR["resolve_user"]'),
        ({"WHISPERR": {"on_commit": "yes"}}, 'WHISPERR["on_commit"]'),
    ]
    for settings, place in wrong:
        with (
            override_settings(WHISPERR_API_KEY=KEY, **settings),
            pytest.raises(ImproperlyConfigured) as raised,
        ):
            visit(lambda request: None)
        assert str(raised.value).startswith(place)


def test_the_same_settings_are_the_same_client_and_changed_ones_another() -> None:
    with override_settings(WHISPERR_API_KEY=KEY):
        first = get_client()
        assert get_client() is first
        with override_settings(WHISPERR={"flush_at": 7}):
            second = get_client()
            assert second is not first
            assert second._options.flush_at == 7
        with override_settings(ALLOWED_HOSTS=[]):
            third = get_client()
            assert third is not second
            assert third._options.flush_at == 20
        assert get_client() is third  # a setting of somebody else's changes nothing


def test_two_threads_at_the_first_use_get_one_client_and_leave_no_other() -> None:
    rounds, threads = 50, 4
    for _ in range(rounds):
        configuration.setup = configuration.Setup()
        made: list[Whisperr] = []
        barrier = threading.Barrier(threads)

        def first_use(barrier: Any = barrier, made: Any = made) -> None:
            barrier.wait()
            made.append(get_client())

        with override_settings(WHISPERR_API_KEY=KEY):
            workers = [threading.Thread(target=first_use) for _ in range(threads)]
            for worker in workers:
                worker.start()
            for worker in workers:
                worker.join()
            assert len(made) == threads
            assert len(set(map(id, made))) == 1


def test_a_thread_that_comes_second_takes_the_others_client_and_drops_its_own() -> None:
    theirs: list[Whisperr] = []
    own: list[weakref.ref[Whisperr]] = []

    def make() -> Whisperr:
        return configuration.make_client(configuration.client_options())

    def make_while_another_thread_does() -> Whisperr:
        theirs.append(setup._once("client", make))
        client = make()
        own.append(weakref.ref(client))
        return client

    with override_settings(WHISPERR_API_KEY=KEY):
        setup = configuration.Setup()
        assert setup._once("client", make_while_another_thread_does) is theirs[0]
        assert setup.client is theirs[0]
        gc.collect()
        assert own[0]() is None


WITHOUT_SETTINGS = """
import django.apps
import whisperr.django
from django.conf import settings
assert not settings.configured
assert not django.apps.apps.ready
assert set(whisperr.django.__all__) <= set(dir(whisperr.django))
"""


def test_the_package_can_be_imported_before_there_are_settings_or_apps() -> None:
    subprocess.run([sys.executable, "-W", "error", "-c", WITHOUT_SETTINGS], check=True)


BEFORE_THE_APPS = """
from django.conf import settings
settings.configure(WHISPERR_API_KEY="wrk_key", WHISPERR_RESOLVE_USER="no.such.resolver")
from whisperr.django import get_client
assert get_client() is get_client()
"""


def test_the_client_can_be_had_before_the_apps_are_loaded() -> None:
    subprocess.run([sys.executable, "-W", "error", "-c", BEFORE_THE_APPS], check=True)


def test_nothing_of_django_is_imported_by_the_package_itself() -> None:
    code = "import sys, whisperr, whisperr.request; assert 'django' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
