"""How long an exit takes with a thousand events queued, whatever the service does."""

from __future__ import annotations

import socket
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from runs import over_http_and_tls, run_script

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from harness import LocalServer
    from runs import Result

SCRIPT = "ends/deadline_scenarios.py"
OPERATIONS = 1003
SHUTDOWN_TIMEOUT = 1.0
#: Bytes in each event: 500 of it fill the buffers of a connection that nobody reads.
PADDING = "5000"
#: What the sender thread does when the process ends.
SENDERS = ("idle", "in_exchange", "none")


@over_http_and_tls
@pytest.mark.parametrize("sender", SENDERS)
def test_an_exit_takes_at_most_a_second_more_when_the_service_answers_within_100_ms(
    server: LocalServer, api_key: str, tmp_path: Path, teardown: float, sender: str
) -> None:
    server.fault(action="delay", delay=0.1, times=None, key=api_key)
    result = run_script(server, api_key, tmp_path, SCRIPT, sender)
    result.assert_exactly_once(OPERATIONS)

    def again(folder: Path) -> Result:
        return run_script(server, api_key, folder, SCRIPT, sender)

    assert_in_time(result, teardown + 1.0, again)


@over_http_and_tls
@pytest.mark.parametrize("sender", ["in_exchange", "none"])
def test_an_answer_of_a_byte_a_second_does_not_prolong_an_exit(
    server: LocalServer, api_key: str, tmp_path: Path, teardown: float, sender: str
) -> None:
    server.fault(action="trickle", times=None, key=api_key)
    result = run_in_vain(server, api_key, tmp_path, teardown, sender)
    assert not result.ledger.twice
    assert not result.ledger.resent


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("sender", SENDERS)
def test_an_exit_ends_in_time_when_the_service_accepts_and_never_answers(
    server: LocalServer,
    api_key: str,
    tmp_path: Path,
    silent_address: str,
    teardown: float,
    sender: str,
    scheme: str,
) -> None:
    """Over http no byte of the request is read; over https no handshake is answered."""
    url = f"{scheme}://{silent_address}"
    run_in_vain(server, api_key, tmp_path, teardown, sender, url)


@pytest.mark.skipif(sys.platform != "linux", reason="other kernels refuse when the backlog is full")
@pytest.mark.parametrize("sender", ["in_exchange", "none"])
def test_an_exit_ends_in_time_when_nobody_answers_the_syn(
    server: LocalServer,
    api_key: str,
    tmp_path: Path,
    deaf_address: str,
    teardown: float,
    sender: str,
) -> None:
    run_in_vain(server, api_key, tmp_path, teardown, sender, f"http://{deaf_address}")


@pytest.mark.parametrize("sender", ["in_exchange", "none"])
def test_an_exit_takes_at_most_2_s_when_the_port_is_refused(
    server: LocalServer,
    api_key: str,
    tmp_path: Path,
    refused_address: str,
    teardown: float,
    sender: str,
) -> None:
    url = f"http://{refused_address}"
    run_in_vain(server, api_key, tmp_path, teardown, sender, url, timeout=10.0, seconds=2.0)


def test_an_exit_tries_a_refused_port_twice(
    server: LocalServer, api_key: str, tmp_path: Path, refused_address: str
) -> None:
    url = f"http://{refused_address}"
    result = run_script(server, api_key, tmp_path, SCRIPT, "none", url=url)
    assert [line["made"] for line in result.lines("exchanges")] == [2]


def test_an_exit_with_a_live_sender_ends_in_time_when_the_name_server_is_silent(
    server: LocalServer, api_key: str, tmp_path: Path, teardown: float
) -> None:
    """The C library's own resolver asks a name server that never answers.

    The process has its own /etc/resolv.conf and its own loopback device, whose port 53 is a
    socket that takes every question and answers none.
    """
    wrapper = _wrapper(tmp_path)
    if subprocess.run([*wrapper, "true"], capture_output=True, timeout=30, check=False).returncode:
        pytest.skip("this machine allows no namespaces")
    url = "http://api.whisperr.test"
    scenario = "name_server_is_silent"
    run_in_vain(server, api_key, tmp_path, teardown, scenario, url, wrapper=tuple(wrapper))


def _wrapper(folder: Path) -> list[str]:
    """A command that runs another one in namespaces of its own, where names go to 127.0.0.1."""
    (folder / "resolv.conf").write_text("nameserver 127.0.0.1\noptions timeout:5 attempts:2\n")
    (folder / "nsswitch.conf").write_text("hosts: files dns\n")
    mount = " && ".join(
        f"mount --bind '{folder / name}' /etc/{name}" for name in ("resolv.conf", "nsswitch.conf")
    )
    return ["unshare", "-Urmn", "sh", "-c", f'{mount} && exec "$@"', "sh"]


def run_in_vain(
    server: LocalServer,
    api_key: str,
    folder: Path,
    teardown: float,
    scenario: str,
    url: str | None = None,
    *,
    timeout: float = SHUTDOWN_TIMEOUT,
    seconds: float = SHUTDOWN_TIMEOUT + 0.5,
    wrapper: tuple[str, ...] = (),
) -> Result:
    """Run a scenario against a service that takes nothing: it ends in time and reports all."""

    def run(folder: Path) -> Result:
        result = run_script(
            server,
            api_key,
            folder,
            SCRIPT,
            scenario,
            url=url,
            wrapper=wrapper,
            LAB_PADDING=PADDING,
            LAB_SHUTDOWN_TIMEOUT=str(timeout),
        )
        assert result.status == 0, result.output
        reports = [line for line in result.lines("reports") if line["reason"] == "undelivered"]
        assert [(line["type"], line["count"]) for line in reports] == [("stalled", OPERATIONS)]
        assert [line["balanced"] for line in result.lines("stats")] == [True]
        return result

    result = run(folder)
    assert_in_time(result, teardown + seconds, run)
    return result


def assert_in_time(result: Result, seconds: float, again: Callable[[Path], Result]) -> None:
    """The process was gone in time; if not, once more: what ignores a deadline does so again."""
    if result.seconds_since("end") < seconds:
        return
    folder = result.folder / "again"
    folder.mkdir()
    assert again(folder).seconds_since("end") < seconds


@pytest.fixture
def teardown(server: LocalServer, api_key: str, tmp_path_factory: pytest.TempPathFactory) -> float:
    """The control: seconds that the same process takes to end without the client."""
    folder = tmp_path_factory.mktemp("control")
    return run_script(server, api_key, folder, SCRIPT, "control").seconds_since("end")


@pytest.fixture
def silent_address() -> Iterator[str]:
    """The kernel accepts every connection, and nobody reads or answers."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as listening:
        yield f"127.0.0.1:{listening.getsockname()[1]}"


@pytest.fixture
def deaf_address() -> Iterator[str]:
    """A backlog that is full: Linux drops every further SYN, as a firewall does."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listening:
        address = listening.getsockname()
        waiting = []
        while True:
            waiting.append(socket.socket())
            waiting[-1].settimeout(0.5)
            try:
                waiting[-1].connect(address)
            except TimeoutError:
                break
            assert len(waiting) < 16, "The backlog did not fill."
        yield f"127.0.0.1:{address[1]}"
        for sock in waiting:
            sock.close()


@pytest.fixture
def refused_address() -> str:
    """A port of this machine where nothing listens."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{free.getsockname()[1]}"
