"""Where operations go in a capture: into one file, from every process, and never to the service."""

from __future__ import annotations

import json
import multiprocessing
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest

from forked import in_child, os_fork, raw_fork
from raw_server import RawServer
from whisperr import Whisperr, WhisperrError, _capture
from whisperr.request import RequestClient, Resolver

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from harness import LocalServer

Line = dict[str, Any]

KEY = "wrk_test_capture"
WRITERS, EACH = 4, 50
#: Long enough that a write of several pages would show, were it not one.
LONG = "x" * 50_000


@pytest.fixture
def path() -> Iterator[str]:
    with _capture.recording() as path:
        yield path


def lines(path: str) -> list[Line]:
    return [json.loads(line) for line in Path(path).read_bytes().split(b"\n")[:-1]]


def run_python(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **environment},
        capture_output=True,
        text=True,
        timeout=60,
    )


def track_by_a_new_client(name: str) -> None:
    """Runs in a spawned process, which imports this module anew."""
    Whisperr().track("u", name)


def here() -> int:
    return sys._getframe(1).f_lineno


# --- What is written --------------------------------------------------------------------------


def test_a_line_has_the_operation_as_it_would_be_sent_the_process_the_time_and_the_caller(
    path: str,
) -> None:
    client = Whisperr(KEY)
    line = here() + 1
    client.track("u", "order_paid", {"text": "a\u2028b\nc"}, message_id="evt_1")
    client.identify("u", traits={"plan": "pro"})
    event, identify = lines(path)
    assert event["fields"] == {
        "external_user_id": "u",
        "event_type": "order_paid",
        "occurred_at": event["fields"]["occurred_at"],
        "properties": {"text": "a\u2028b\nc"},
        "context": {**event["fields"]["context"], "$message_id": "evt_1"},
    }
    assert event["at"] >= event["fields"]["occurred_at"]
    assert (event["kind"], event["pid"]) == ("event", os.getpid())
    assert (event["file"], event["line"], event["method"]) == (__file__, line, "track")
    assert (identify["kind"], identify["method"]) == ("identify", "identify")
    assert identify["fields"] == {"external_user_id": "u", "traits": {"plan": "pro"}}


@pytest.mark.parametrize(
    ("given", "written"),
    [("Order Paid", "Order Paid"), ("X" * 300, "X" * 100), (7, "<int>"), ("", "")],
)
def test_a_refusal_has_its_rule_and_the_name_that_was_given(
    path: str, given: Any, written: str
) -> None:
    Whisperr(KEY).track("u", given)
    (line,) = lines(path)
    assert (line["kind"], line["event_type"]) == ("refusal", written)
    assert line["fields"]["reason"] == "invalid"
    assert line["fields"]["detail"].startswith("event_type must be lower snake_case")


def test_the_caller_is_the_application_whatever_of_ours_it_called(path: str) -> None:
    client = Whisperr(KEY)
    request = RequestClient(client, Resolver(str), "u")
    draft = client.draft()
    first = here() + 1
    request.track("order paid")
    draft.track("u", "order paid")
    draft.track("u", "order_paid")
    draft.accept()
    found = [(line["line"] - first, line["method"], line["event_type"]) for line in lines(path)]
    assert {line["file"] for line in lines(path)} == {__file__}
    assert found == [(0, "track", "order paid"), (1, "track", "order paid"), (3, "accept", None)]


def test_what_is_sent_for_a_value_is_what_it_is_compared_with() -> None:
    assert _capture.as_sent({"id": UUID(int=7), "values": (1, None)}) == {
        "id": "00000000-0000-0000-0000-000000000007",
        "values": [1, None],
    }


# --- Who writes -------------------------------------------------------------------------------


@pytest.mark.parametrize("fork", [os_fork, raw_fork])
def test_forked_processes_of_every_generation_append_to_the_file(
    path: str, fork: Callable[[], int]
) -> None:
    client = Whisperr(KEY)

    def child() -> int:
        client.track("u", "child")
        in_child(lambda: client.track("u", "grandchild"), fork)
        return os.getpid()

    pid = in_child(child, fork)
    client.track("u", "parent")
    names = [line["fields"]["event_type"] for line in lines(path)]
    assert names == ["child", "grandchild", "parent"]
    pids = [line["pid"] for line in lines(path)]
    assert (pids[0], pids[2]) == (pid, os.getpid())
    assert len(set(pids)) == 3


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_processes_of_multiprocessing_append_and_need_no_key(path: str, method: str) -> None:
    context: Any = multiprocessing.get_context(method)
    process = context.Process(target=track_by_a_new_client, args=("from_process",))
    process.start()
    process.join(60)
    assert process.exitcode == 0
    (line,) = lines(path)
    assert (line["fields"]["event_type"], line["pid"]) == ("from_process", process.pid)


def test_processes_that_are_started_append_and_need_no_key(path: str) -> None:
    result = run_python("import whisperr; whisperr.Whisperr().track('u', 'from_script')")
    assert result.returncode == 0, result.stderr
    (line,) = lines(path)
    assert line["fields"]["event_type"] == "from_script"


def test_lines_of_threads_and_processes_do_not_mix(path: str) -> None:
    client = Whisperr(KEY)

    def write() -> None:
        for _ in range(EACH):
            client.track("u", "happened", {"long": LONG})

    def with_threads() -> None:
        threads = [threading.Thread(target=write) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)

    context: Any = multiprocessing.get_context("fork")
    processes = [context.Process(target=with_threads) for _ in range(WRITERS)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    written = lines(path)
    assert len(written) == WRITERS * 2 * EACH
    assert len({line["fields"]["context"]["$message_id"] for line in written}) == len(written)
    assert all(line["fields"]["properties"] == {"long": LONG} for line in written)


def test_a_call_that_a_signal_handler_forked_in_is_written_by_the_parent_alone(path: str) -> None:
    assert _capture.recorder is not None
    taking = _capture.recorder.here()  # a call got so far
    operation = Whisperr(KEY)._encoder.event("u", "happened", None, None, None, None)
    in_child(lambda: taking.settle_call(operation))
    assert lines(path) == []
    taking.settle_call(operation)
    assert len(lines(path)) == 1


@pytest.mark.parametrize("fork", [os_fork, raw_fork])
def test_a_draft_that_a_child_inherits_is_written_by_the_parent_alone(
    path: str, fork: Callable[[], int]
) -> None:
    draft = Whisperr(KEY).draft()
    draft.track("u", "happened")
    in_child(draft.accept, fork)
    in_child(draft.take_back, fork)
    assert lines(path) == []
    draft.accept()
    assert len(lines(path)) == 1


# --- When -------------------------------------------------------------------------------------


def test_nothing_is_sent_during_a_capture_and_all_is_afterwards(
    server: LocalServer, api_key: str
) -> None:
    def track_and_flush() -> bool:
        client.track("u", "captured")
        return bool(client.flush())

    with Whisperr(api_key, base_url=server.url, flush_at=1, flush_interval=0.01) as client:
        with _capture.recording():
            assert track_and_flush()
            assert in_child(track_and_flush) is True
            script = "import whisperr; whisperr.Whisperr().track('u', 'captured')"
            environment = {"WHISPERR_API_KEY": api_key, "WHISPERR_BASE_URL": server.url}
            assert run_python(script, **environment).returncode == 0
        client.track("u", "sent")
        assert client.flush()
    assert [event["event_type"] for event in server.events(api_key)] == ["sent"]


def test_a_client_needs_a_key_again_afterwards() -> None:
    with _capture.recording():
        Whisperr(None)
    with pytest.raises(ValueError, match="An API key is needed"):
        Whisperr(None)
    assert "ValueError" in run_python("import whisperr; whisperr.Whisperr()").stderr


def test_a_disabled_client_writes_nothing(path: str) -> None:
    client = Whisperr(disabled=True)
    client.track("u", "happened")
    client.draft().track("u", "happened")
    assert lines(path) == []


def test_captures_nest_and_the_inner_one_writes(path: str) -> None:
    client = Whisperr(KEY)
    client.track("u", "before")
    with _capture.recording() as inner:
        client.track("u", "inside")
        assert os.environ[_capture.VARIABLE] == inner != path
        assert [line["fields"]["event_type"] for line in lines(inner)] == ["inside"]
    client.track("u", "after")
    assert os.environ[_capture.VARIABLE] == path
    assert [line["fields"]["event_type"] for line in lines(path)] == ["before", "after"]


def test_at_its_end_all_is_as_it_was_also_where_the_block_raised() -> None:
    with pytest.raises(LookupError), _capture.recording() as path:
        raise LookupError
    assert _capture.recorder is None
    assert _capture.VARIABLE not in os.environ
    assert not Path(path).exists()


def test_what_comes_after_the_end_is_written_nowhere_and_makes_no_file() -> None:
    with _capture.recording() as path:
        recorder = _capture.recorder  # as a child has it that outlives the capture
    assert recorder is not None
    recorder.here().settle_call(b"{}")
    assert not Path(path).exists()


def test_a_file_that_cannot_be_written_is_an_error_and_not_a_test_that_passes(
    tmp_path: Path,
) -> None:
    with pytest.raises(OSError, match=str(tmp_path)):
        _capture.Recorder(str(tmp_path)).here().settle_call(b"{}")


def test_a_child_that_leaves_the_block_leaves_the_file_and_goes_on_writing_to_it() -> None:
    client = Whisperr(KEY)
    block = _capture.recording()

    def child() -> None:
        block.__exit__(None, None, None)  # as an exception that passes through it would
        client.track("u", "from_child")
        assert run_python("import whisperr; whisperr.Whisperr()").returncode == 0

    with block as path:
        in_child(child, seconds=60)
        (line,) = lines(path)
    assert line["fields"]["event_type"] == "from_child"


def test_a_client_without_a_key_sends_nothing_after_the_capture_and_says_so() -> None:
    errors: list[WhisperrError] = []
    with RawServer(lambda _peer: None) as server:
        with _capture.recording() as path:
            client = Whisperr(None, base_url=server.url, on_error=errors.append)
            assert client.ready
            client.track("u", "captured")
            assert len(lines(path)) == 1
        assert not client.ready
        client.track("u", "lost")
        client.flush()
        assert not client.ready
        assert [error.reason for error in errors] == ["closed"]
        assert server.connections == 0
        with _capture.recording() as path:
            client.track("u", "captured")
            assert len(lines(path)) == 1


@pytest.mark.parametrize("value", [None, ""])
def test_without_the_variable_a_process_captures_nothing(
    monkeypatch: pytest.MonkeyPatch, value: str | None
) -> None:
    monkeypatch.delenv(_capture.VARIABLE, raising=False)
    if value is not None:
        monkeypatch.setenv(_capture.VARIABLE, value)
    monkeypatch.setattr(_capture, "recorder", _capture.Recorder(os.devnull))
    _capture.follow_environment()
    assert _capture.recorder is None


def test_a_variable_that_is_set_later_is_followed_when_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "capture"
    file.touch()
    monkeypatch.setattr(_capture, "recorder", None)
    monkeypatch.setenv(_capture.VARIABLE, str(file))
    _capture.follow_environment()
    Whisperr(None).track("u", "happened")
    assert [line["fields"]["event_type"] for line in lines(str(file))] == ["happened"]
