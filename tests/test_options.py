"""Every option: its default, its range, its environment variable, its row in docs/options.md."""

from __future__ import annotations

import ast
import inspect
import re
import warnings
from typing import Any

import pytest

from tables import codes, table
from whisperr import Whisperr, _options
from whisperr._options import Options

KEY = "wrk_live_5ecret"
FIELDS = list(Options._fields)
VARIABLES = ("API_KEY", "BASE_URL", "APP_VERSION", "DISABLED", "DEBUG")
SENTENCE = re.compile(r"[A-Za-z][^\n]*\.")


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in FIELDS:
        monkeypatch.delenv(f"WHISPERR_{name.upper()}", raising=False)


# --- docs/options.md ----------------------------------------------------------------------

ROWS = {codes(row[0])[0]: row for row in table("options.md", "Option")}


def test_the_document_has_every_option_and_no_other() -> None:
    assert list(ROWS) == FIELDS


@pytest.mark.parametrize("name", FIELDS)
def test_the_document_names_the_default(name: str) -> None:
    options = Options(disabled=True)
    value = False if name == "disabled" else getattr(options, name)
    assert codes(ROWS[name][1]) == [str(value)]


@pytest.mark.parametrize("name", FIELDS)
def test_the_document_names_the_environment_variable_if_there_is_one(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    variable = f"WHISPERR_{name.upper()}"
    values = {"base_url": "https://x.example", "disabled": "1", "debug": "1"}
    monkeypatch.setenv("WHISPERR_API_KEY", KEY)
    before = getattr(Options(), name)
    monkeypatch.setenv(variable, values.get(name, "7"))
    is_read = getattr(Options(), name) != before
    assert codes(ROWS[name][3]) == ([variable] if is_read else [])
    assert is_read == (name.upper() in VARIABLES)


@pytest.mark.parametrize("name", FIELDS)
def test_the_document_says_range_and_meaning(name: str) -> None:
    assert len(ROWS[name]) == 5
    assert ROWS[name][2]
    assert ROWS[name][4].endswith(".")


# --- One list of options ------------------------------------------------------------------


def test_the_arguments_for_type_checkers_are_the_options() -> None:
    assert ["api_key", *_annotations("OptionArguments")] == FIELDS


def test_the_arguments_for_type_checkers_have_the_types_of_the_options() -> None:
    assert {"api_key": "str | None", **_annotations("OptionArguments")} == _annotations("Options")


def _annotations(name: str) -> dict[str, str]:
    """The annotations of a class as they are written; one of them is for type checkers only."""
    tree = ast.parse(inspect.getsource(_options))
    [found] = [n for n in ast.walk(tree) if isinstance(n, ast.ClassDef) and n.name == name]
    return {
        ast.unparse(statement.target): ast.unparse(statement.annotation)
        for statement in found.body
        if isinstance(statement, ast.AnnAssign)
    }


def test_every_option_is_described_in_the_code() -> None:
    source = inspect.getsource(Options)
    for name in FIELDS:
        assert re.search(rf"    #: .+\.\n    {name}:", source), name


def test_options_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        Options(KEY).flush_at = 5  # type: ignore[misc]


def test_an_unknown_option_is_a_type_error() -> None:
    with pytest.raises(TypeError):
        Whisperr(KEY, flush_size=5)  # type: ignore[call-arg]


# --- Environment --------------------------------------------------------------------------


def test_an_argument_wins_over_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in zip(VARIABLES, ("a", "https://env.example", "1", "1", "1"), strict=True):
        monkeypatch.setenv(f"WHISPERR_{name}", value)
    given: dict[str, Any] = {
        "api_key": KEY,
        "base_url": "https://given.example",
        "app_version": "2",
        "disabled": False,
        "debug": False,
    }
    options = Options(**given)
    assert {name: getattr(options, name) for name in given} == given


@pytest.mark.parametrize("name", VARIABLES)
def test_an_empty_variable_counts_as_unset(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(f"WHISPERR_{name}", "")
    assert getattr(Options(disabled=True), name.lower()) == getattr(
        Options(disabled=True, api_key=None), name.lower()
    )
    assert Options(api_key=KEY).url == "https://api.whisperr.net"
    assert Options(api_key=KEY).disabled is False


@pytest.mark.parametrize(
    ("text", "on"),
    [("1", True), ("true", True), (" YES ", True), ("On", True), ("0", False), ("no", False)],
)
def test_a_switch_in_the_environment(text: str, on: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WHISPERR_DISABLED", text)
    monkeypatch.setenv("WHISPERR_DEBUG", text)
    options = Options(api_key=KEY)
    assert (options.disabled, options.debug) == (on, on)


def test_a_client_without_a_key_can_be_made_where_it_is_disabled(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A module-level client must import in CI."""
    monkeypatch.setenv("WHISPERR_DISABLED", "1")
    assert Options().api_key is None


# --- Ranges -------------------------------------------------------------------------------

NUMBERS: dict[str, tuple[Any, Any]] = {
    "flush_at": (1, 0),
    "flush_interval": (0, -0.1),
    "max_queue_size": (1, 0),
    "max_batch_size": (1, 0),
    "max_retries": (0, -1),
    "request_timeout": (0.001, 0),
    "shutdown_timeout": (0, -1),
}
WHOLE = ("flush_at", "max_queue_size", "max_batch_size", "max_retries")


def options(**given: Any) -> Options:
    return Options(**{"api_key": KEY, **given})


def refused(kind: type[Exception], **given: Any) -> str:
    """The message of an error that must be a sentence without a secret."""
    with pytest.raises(kind) as caught:
        options(**given)
    message = str(caught.value)
    assert SENTENCE.fullmatch(message), message
    assert "5ecret" not in message
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__ or caught.value.__context__ is None
    return message


@pytest.mark.parametrize("name", NUMBERS)
def test_a_number_at_the_end_of_its_range_is_taken_and_beyond_it_refused(name: str) -> None:
    least, below = NUMBERS[name]
    assert getattr(options(**{name: least}), name) == least
    assert name in refused(ValueError, **{name: below})


@pytest.mark.parametrize("name", NUMBERS)
@pytest.mark.parametrize("value", ["5", None, True, [], 1 + 1j])
def test_a_number_of_another_type_is_a_type_error(name: str, value: Any) -> None:
    assert name in refused(TypeError, **{name: value})


@pytest.mark.parametrize("name", NUMBERS)
@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_a_number_is_finite(name: str, value: float) -> None:
    assert name in refused(TypeError if name in WHOLE else ValueError, **{name: value})


@pytest.mark.parametrize("name", WHOLE)
def test_a_count_is_whole_and_may_be_huge(name: str) -> None:
    assert name in refused(TypeError, **{name: 1.0})
    if name != "max_batch_size":
        assert getattr(options(**{name: 10**400}), name) == 10**400


@pytest.mark.parametrize("name", ["flush_interval", "request_timeout", "shutdown_timeout"])
def test_a_time_is_no_larger_than_a_float(name: str) -> None:
    assert name in refused(ValueError, **{name: 10**400})


@pytest.mark.parametrize("name", ["disabled", "debug"])
@pytest.mark.parametrize("value", ["false", "0", 1, []])
def test_a_switch_is_a_bool(name: str, value: Any) -> None:
    """disabled="false" would silently deliver nothing."""
    assert name in refused(TypeError, **{name: value})


@pytest.mark.parametrize("name", ["on_error", "before_send", "session_factory"])
def test_a_callback_can_be_called(name: str) -> None:
    assert name in refused(TypeError, **{name: "print"})
    assert getattr(options(**{name: print}), name) is print


@pytest.mark.parametrize("name", ["api_key", "base_url", "app_version"])
def test_text_is_a_string(name: str) -> None:
    assert name in refused(TypeError, **{name: b"wrk_5ecret"})


def test_a_batch_larger_than_the_services_is_brought_down_with_a_warning() -> None:
    with pytest.warns(UserWarning, match="500"):
        assert Options(api_key=KEY, max_batch_size=501).max_batch_size == 500


# --- Key and URL --------------------------------------------------------------------------


@pytest.mark.parametrize("key", [None, "", "  "])
def test_a_key_is_needed(key: str | None) -> None:
    assert "WHISPERR_API_KEY" in refused(ValueError, api_key=key)


@pytest.mark.parametrize("key", ["wrk_5ecret\n", "wrk 5ecret", "wrk_5ecrét", "wrk_5ecret\x00"])
def test_a_key_that_cannot_be_a_header_is_refused_without_being_shown(key: str) -> None:
    refused(ValueError, api_key=key)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "api.example",
        "ftp://api.example",
        "//api.example",
        "https://",
        "https:///v1",
        "https://user:5ecret@api.example",
        "https://5ecret@api.example",
        "https://@api.example",
        "ftp://user:5ecret@api.example",
        "https://user:5ecret@[::1",
        "https://user:5ecret@api.example:port",
        "https://user:5ecret℀@api.example",
        "https://api.example:99999",
        "https://api.example:-1",
        "https://api.example?key=5ecret",
        "https://api.example#5ecret",
        "https://api.example?",
        "https://api.example\n",
        "https://api.example /5ecret",
        "https://[5ecret",
    ],
)
def test_a_url_that_cannot_be_the_services_is_refused_without_being_shown(url: str) -> None:
    assert "base_url" in refused(ValueError, base_url=url)


@pytest.mark.parametrize(
    ("given", "url"),
    [
        ("https://api.example/", "https://api.example"),
        ("https://api.example/prefix//", "https://api.example/prefix"),
        ("HTTPS://API.example", "HTTPS://API.example"),
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
        ("http://localhost:1/", "http://localhost:1"),
        ("http://[::1]:8080", "http://[::1]:8080"),
    ],
)
def test_a_url_ends_without_a_slash(given: str, url: str) -> None:
    assert Options(api_key=KEY, base_url=given).url == url


def test_plain_http_to_another_host_warns() -> None:
    with pytest.warns(UserWarning, match="unencrypted"):
        Options(api_key=KEY, base_url="http://api.example")


def test_a_publishable_key_warns() -> None:
    with pytest.warns(UserWarning, match="publishable") as caught:
        Options(api_key="wpk_5ecret")
    assert "5ecret" not in str(caught[0].message)


def test_a_warning_names_the_line_that_made_the_client() -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        Whisperr("wpk_a", base_url="http://api.example", max_batch_size=501)
    assert [warning.filename for warning in caught] == [__file__] * 3


def test_a_repr_shows_no_secret_and_no_callback() -> None:
    shown = repr(Options(api_key=KEY, on_error=lambda _: KEY, before_send=lambda a, _: a))
    assert "5ecret" not in shown
    assert "lambda" not in shown
    assert "flush_at=20" in shown
