"""The pytest plugin, in runs of pytest of their own; src/whisperr_pytest.py."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from raw_server import clean_environment
from whisperr.testing import capture

if TYPE_CHECKING:
    from harness import LocalServer

MODULE = "whisperr_pytest"
ROOT = Path(__file__).parent.parent
EXAMPLE = ROOT / "docs" / "examples" / "testing"
ON = "[pytest]\nwhisperr_capture = true\n"
#: An application whose client is made when it is imported, with the key of the environment.
APPLICATION = """
import os
from whisperr import Whisperr
client = Whisperr(flush_interval=0)
"""
TRACKS_AT_ITS_END = """
import atexit
from shop import client

def at_exit():
    client.track("u1", "order_paid")
    client.flush()

atexit.register(at_exit)
"""
VIOLATION_IN_A_CHILD = """
import os
from shop import client

def test_it(whisperr_events):
    pid = os.fork()
    if pid == 0:
        client.track("u1", "payment-failed")
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0
"""


class Run:
    """What a run of pytest came to."""

    def __init__(self, process: subprocess.CompletedProcess[str]) -> None:
        self.status = process.returncode
        self.output = process.stdout + process.stderr

    def assert_outcomes(self, **counts: int) -> None:
        last = self.output.strip().splitlines()[-1]
        pairs = re.findall(r"(\d+) ([a-z]+)", last)
        found = {word.rstrip("s"): int(count) for count, word in pairs}
        found.pop("warning", None)  # CPython 3.12 and later warn of a fork beside xdist's threads
        assert found == counts, self.output


class Project:
    """A folder with an application and its tests.

    Args:
        folder: where to write them.
        url: of the service that would take what is sent.
        key: a key of that service.
    """

    def __init__(self, folder: Path, url: str, key: str) -> None:
        self.folder = folder
        self._url = url
        self._key = key
        self.write("shop.py", APPLICATION)

    def write(self, name: str, text: str) -> None:
        path = self.folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(textwrap.dedent(text))

    def run(self, *arguments: str, plugins: tuple[str, ...] = (MODULE,), key: bool = False) -> Run:
        """Run pytest with these plugins and no others; with `key` what is sent would arrive."""
        options = [word for name in plugins for word in ("-p", name)]
        environment = {
            **clean_environment(),
            "PYTHONPATH": str(self.folder),
            "WHISPERR_BASE_URL": self._url,
            "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
            **({"WHISPERR_API_KEY": self._key} if key else {}),
            **{name: os.environ[name] for name in ("WHISPERR_CAPTURE_FILE",) if name in os.environ},
        }
        return self._run(["-q", *options, *arguments], environment)

    def _run(self, arguments: list[str], environment: dict[str, str]) -> Run:
        command = [sys.executable, "-m", "pytest", "--rootdir", str(self.folder), *arguments]
        return Run(
            subprocess.run(
                command,
                cwd=self.folder,
                env=environment,
                capture_output=True,
                text=True,
                timeout=100,
            )
        )


@pytest.fixture
def project(tmp_path: Path, server: LocalServer, api_key: str) -> Project:
    return Project(tmp_path, server.url, api_key)


# --- The fixture ------------------------------------------------------------------------------


@pytest.mark.parametrize("ini", ["", ON])
def test_the_fixture_records_and_nothing_is_sent(
    project: Project, server: LocalServer, api_key: str, ini: str
) -> None:
    project.write("pytest.ini", ini or "[pytest]\n")
    project.write(
        "test_shop.py",
        """
        import os, subprocess, sys
        from shop import client

        def test_it(whisperr_events):
            client.track("u1", "order_paid", {"amount": 5})
            pid = os.fork()
            if pid == 0:
                client.track("u1", "receipt_sent")
                os._exit(0)
            os.waitpid(pid, 0)
            subprocess.run([sys.executable, "-c", "from shop import *; client.track('u1', 'made')"])
            assert client.flush()
            whisperr_events.one("order_paid", user="u1", properties={"amount": 5})
            assert whisperr_events.one("receipt_sent").pid == pid
            whisperr_events.one("made")

        def test_another_starts_empty(whisperr_events):
            whisperr_events.none()
        """,
    )
    project.run(key=True).assert_outcomes(passed=2)
    assert not server.requests(api_key)


def test_after_the_fixture_the_client_sends_again(
    project: Project, server: LocalServer, api_key: str
) -> None:
    project.write(
        "test_shop.py",
        """
        from shop import client

        def test_captured(whisperr_events):
            client.track("u1", "captured")

        def test_sent():
            client.track("u1", "sent")
            assert client.flush().delivered == 1
        """,
    )
    project.run(key=True).assert_outcomes(passed=2)
    assert [event["event_type"] for event in server.events(api_key)] == ["sent"]


def test_a_violation_fails_the_test_and_names_it(project: Project) -> None:
    project.write("pytest.ini", ON)
    project.write(
        "test_shop.py",
        """
        from shop import client

        def test_it(whisperr_events):
            client.track("u1", "payment-failed")
        """,
    )
    run = project.run()
    run.assert_outcomes(failed=1)
    assert "track('payment-failed') at test_shop.py:5, pid " in run.output
    assert "event_type must be lower snake_case, such as payment_failed. (invalid)" in run.output
    assert 'client.track("u1", "payment-failed")' in run.output
    assert "FAILED test_shop.py::test_it - Failed: track('payment-failed') at" in run.output


@pytest.mark.parametrize("ini", ["[pytest]\n", ON])
def test_a_violation_in_a_forked_child_fails_the_test_at_its_end(
    project: Project, ini: str
) -> None:
    project.write("pytest.ini", ini)
    project.write("test_shop.py", VIOLATION_IN_A_CHILD)
    run = project.run(key=True)
    run.assert_outcomes(failed=1)
    assert "track('payment-failed') at test_shop.py:8, pid " in run.output


def test_a_violation_in_a_test_that_fails_is_no_second_outcome(project: Project) -> None:
    project.write("pytest.ini", ON)
    project.write(
        "test_shop.py",
        """
        from shop import client

        def test_it(whisperr_events):
            client.track("u1", "payment-failed")
            whisperr_events.one("payment_failed", user="u1")
        """,
    )
    run = project.run()
    run.assert_outcomes(failed=1)
    assert "Not recorded: event payment_failed of user u1." in run.output
    assert "track('payment-failed') at test_shop.py:5" in run.output
    assert "def one(" not in run.output  # the frames of the kit are hidden


def test_a_violation_in_what_ends_after_the_test_is_an_error(project: Project) -> None:
    project.write("pytest.ini", ON)
    project.write(
        "test_shop.py",
        """
        import pytest
        from shop import client

        @pytest.fixture
        def basket(whisperr_events):
            yield
            client.track("u1", "basket-emptied")

        def test_it(basket):
            client.track("u1", "order_paid")
        """,
    )
    run = project.run()
    run.assert_outcomes(passed=1, error=1)
    assert "track('basket-emptied') at test_shop.py:8" in run.output


def test_test_cases_of_unittest_and_tests_that_ask_late_fail_as_well(project: Project) -> None:
    project.write("pytest.ini", ON)
    project.write(
        "test_shop.py",
        """
        import unittest
        import pytest
        from shop import client

        @pytest.mark.usefixtures("whisperr_events")
        class Test(unittest.TestCase):
            def test_right(self):
                client.track("u1", "order_paid")

            def test_wrong(self):
                client.track("u1", "order-paid")

        def test_late(request):
            events = request.getfixturevalue("whisperr_events")
            client.track("u1", "order-paid")
        """,
    )
    project.run().assert_outcomes(failed=2, passed=1)


def test_the_fixture_is_documented(project: Project) -> None:
    output = project.run("--fixtures").output
    assert re.search(
        r"^whisperr_events.*\n +What whisperr's clients would send", output, re.MULTILINE
    )
    assert "whisperr_capture" in project.run("--help").output


# --- The ini option ---------------------------------------------------------------------------


def test_with_the_option_clients_need_no_key_and_nothing_is_sent_to_the_end_of_the_process(
    project: Project, server: LocalServer, api_key: str
) -> None:
    project.write("pytest.ini", ON)
    project.write("conftest.py", TRACKS_AT_ITS_END)
    project.write(
        "test_shop.py",
        """
        import os, subprocess, sys
        import pytest
        from shop import client
        from whisperr import Whisperr

        made_while_collecting = Whisperr()

        @pytest.fixture(scope="session", autouse=True)
        def session():
            client.track("u1", "session_begun")
            yield
            client.track("u1", "session_ended")
            client.shutdown()

        @pytest.mark.parametrize("one", [client, made_while_collecting])
        def test_without_the_fixture(one):
            one.track("u1", "order_paid")
            one.track("u1", "order-paid")  # nobody asked
            assert one.flush()
            pid = os.fork()
            if pid == 0:
                one.track("u1", "receipt_sent")
                one.flush()
                os._exit(0)
            os.waitpid(pid, 0)
            subprocess.run([sys.executable, "-c", "from shop import *; client.track('u1', 'made')"])

        def test_with_the_fixture(whisperr_events):
            client.track("u1", "order_paid")
            whisperr_events.one("order_paid")
        """,
    )
    project.run().assert_outcomes(passed=3)
    project.run(key=True).assert_outcomes(passed=3)
    assert not server.requests(api_key)


@pytest.mark.parametrize("options", [(), ("-p", "no:whisperr")])
def test_without_the_option_a_client_needs_its_key_as_ever(
    project: Project, options: tuple[str, ...]
) -> None:
    project.write("conftest.py", "import shop")
    run = project.run(*options)
    assert run.status != 0
    assert "ValueError: An API key is needed" in run.output


@pytest.mark.parametrize("value", ["false", "no"])
def test_an_option_that_is_off_is_off(project: Project, value: str) -> None:
    project.write("pytest.ini", f"[pytest]\nwhisperr_capture = {value}\n")
    project.write("conftest.py", "import shop")
    assert "ValueError: An API key is needed" in project.run().output


@pytest.mark.parametrize(
    "early",
    [
        # as pytest-django, which sets Django up there
        """
        import pytest

        @pytest.hookimpl(tryfirst=True)
        def pytest_load_initial_conftests():
            import shop
        """,
        """
        import pytest

        @pytest.hookimpl(wrapper=True)
        def pytest_load_initial_conftests():
            import shop
            return (yield)
        """,
        "import whisperr",
    ],
)
def test_a_plugin_may_import_the_application_or_the_package_before_any_conftest(
    project: Project, early: str
) -> None:
    project.write("pytest.ini", ON)
    project.write("early.py", early)
    project.write(
        "test_shop.py",
        """
        from shop import client

        def test_it(whisperr_events):
            client.track("u1", "order_paid")
            whisperr_events.one("order_paid")
        """,
    )
    for plugins in (("early", MODULE), (MODULE, "early")):
        project.run(plugins=plugins).assert_outcomes(passed=1)


def test_workers_of_xdist_have_a_file_each_and_need_no_key(
    project: Project, server: LocalServer, api_key: str
) -> None:
    project.write("pytest.ini", ON)
    project.write("conftest.py", TRACKS_AT_ITS_END)
    project.write(
        "test_shop.py",
        """
        import os
        import pytest
        from shop import client

        @pytest.mark.parametrize("number", range(10))
        def test_it(whisperr_events, number):
            client.track(number, "order_paid")
            pid = os.fork()
            if pid == 0:
                client.track(number, "receipt_sent")
                os._exit(0)
            os.waitpid(pid, 0)
            assert [event.user for event in whisperr_events.all()] == [str(number)] * 2

        def test_wrong(whisperr_events):
            client.track("u1", "order-paid")
        """,
    )
    run = project.run("-n", "2", plugins=("xdist", MODULE))
    run.assert_outcomes(passed=10, failed=1)
    assert "track('order-paid') at test_shop.py:17" in run.output
    project.run("-n", "2", plugins=("xdist", MODULE), key=True).assert_outcomes(passed=10, failed=1)
    assert not server.requests(api_key)


def test_a_run_that_a_captured_test_starts_is_a_part_of_that_capture(project: Project) -> None:
    project.write("pytest.ini", ON)
    project.write(
        "test_shop.py",
        """
        from shop import client

        def test_it():
            client.track("u1", "order_paid")
        """,
    )
    with capture() as events:
        project.run().assert_outcomes(passed=1)
    events.one("order_paid", user="u1")


# --- As it is installed -----------------------------------------------------------------------


@pytest.mark.parametrize("workers", [(), ("-n", "1", "-p", "xdist")])
def test_as_an_entry_point_it_is_there_before_any_conftest(
    project: Project, workers: tuple[str, ...]
) -> None:
    project.write("pytest.ini", ON)
    project.write("conftest.py", "import shop")
    project.write("installed-1.dist-info/METADATA", "Name: installed\nVersion: 1\n")
    project.write("installed-1.dist-info/entry_points.txt", f"[pytest11]\ninstalled = {MODULE}\n")
    project.write(
        "test_shop.py",
        """
        from shop import client

        def test_it(whisperr_events):
            client.track("u1", "order_paid")
            whisperr_events.one("order_paid")
        """,
    )
    environment = {**clean_environment(), "PYTHONPATH": str(project.folder)}
    # Not the one of this environment, where it is installed already.
    run = project._run(["-q", "-p", "no:whisperr", *workers], environment)
    run.assert_outcomes(passed=1)


def test_unused_it_changes_nothing_and_imports_nothing(
    project: Project, server: LocalServer, api_key: str
) -> None:
    project.write(
        "conftest.py",
        """
        import os, sys

        for name in ("whisperr", "requests", "urllib3", "ssl"):
            assert name not in sys.modules, name
        assert "WHISPERR_CAPTURE_FILE" not in os.environ
        """,
    )
    project.write(
        "test_shop.py",
        """
        def test_it():
            from shop import client
            client.track("u1", "sent")
            assert client.flush().delivered == 1
        """,
    )
    project.run(key=True).assert_outcomes(passed=1)
    assert [event["event_type"] for event in server.events(api_key)] == ["sent"]


def test_with_the_option_alone_it_imports_nothing_either(project: Project) -> None:
    project.write("pytest.ini", ON)
    project.write(
        "test_shop.py",
        """
        import sys

        def test_it():
            assert "whisperr" not in sys.modules
        """,
    )
    project.run().assert_outcomes(passed=1)
