"""Wrong clients: each planted defect, and the tests that must fail on it.

Plain data. To add a row, add a `Defect` and run ``make mutants ARGS="its name"``; then
``make mutants WRITE=docs/proof.md`` writes the table of the documents anew.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

#: Where the files of the edits are, in the repository and in each copy of it.
PACKAGE = Path("src", "whisperr")

FORKS = "tests/forks/test_forks.py::"
EXACTLY_ONCE = FORKS + "test_every_operation_arrives_exactly_once"
CALLBACKS = "tests/forks/test_callbacks.py::"
ENDS = "tests/ends/test_ends.py::"
AT_THE_END = ENDS + "test_everything_queued_is_delivered_at_the_end"
OPENSSL = "tests/test_openssl.py::"
CLIENT = "tests/test_client.py::"
HEALTHY = ENDS + "test_a_healthy_client_delivers_although_another_ones_service_hangs"
LATE_IMPORTS = "tests/test_imports.py::test_a_refusal_and_a_name_that_nobody_knows_import_nothing"
TRANSPORT = "tests/test_transport.py::"
QUEUE = "tests/test_queue.py::"
GUARD = "tests/test_adapter.py::test_a_child_leaves_its_parents_connection_alone"
THREADS = "tests/test_threads.py::"
FLEET = "tests/fleet/test_fleet.py::"
PACE = FLEET + "test_a_backlog_of_many_requests_goes_out_at_a_pace"
HANDOVER = "tests/hosts/test_uwsgi_handover.py::"
LOAD = "tests/load/"
#: Tests in hosts name the Python that the host runs on.
_PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"
FIRST_DELIVERY = (
    "tests/test_process.py::test_the_first_delivery_makes_the_session_and_the_tls_context[https]"
)
FORKED_BY_SENDER = (
    CALLBACKS + "test_a_child_forked_by_the_senders_thread_ends_as_one_of_the_main_thread[http]"
)
FORKED_BY_LOG_HANDLER = (
    CALLBACKS + "test_a_child_forked_by_a_log_handler_on_the_senders_thread_ends_so_too"
)
FORKED_IN_PROCESS = (
    CALLBACKS
    + "test_a_child_forked_so_in_a_process_of_multiprocessing_ends_as_one_of_its_main_thread"
)
FORKED_AT_EXIT = (
    CALLBACKS + "test_a_child_forked_at_the_exit_delivers_its_own_and_ends_like_any_other"
)
FORKED_IN_FLUSH = CALLBACKS + "test_a_child_forked_on_a_callers_thread_returns_to_the_caller"
FORKED_IN_TRACK = CALLBACKS + "test_a_child_forked_inside_track_returns_from_track"
GEVENT = (
    "tests/forks/test_gevent_forks.py::"
    "test_the_copy_of_a_waiting_sender_greenlet_neither_reads_nor_sends"
)
UNTOUCHED = "tests/forks/test_untouched.py::test_no_lock_of_the_parents_client_is_waited_for"
HELD = (
    "tests/forks/test_states.py::"
    "test_every_operation_arrives_exactly_once_whatever_was_held_at_the_fork"
)
DROPPED = "tests/test_many_clients.py::"
LAST_CALLS = "tests/reentry/test_last_calls.py::"
LAST_REPORT = (
    LAST_CALLS + "test_a_report_of_the_last_delivery_neither_feeds_itself_nor_prolongs_the_end"
)
REENTRY = "tests/reentry/test_reentry.py::"
SIGNALS = "tests/reentry/test_signals.py::"
DROPPED_IN_CHILD = (
    DROPPED + "test_a_child_that_drops_its_parents_client_leaves_the_parents_sender_alone"
)
FLUSH_IN_HANDLER = SIGNALS + "test_a_signal_handler_flushes_in_the_middle_of_a_flush"
STRUCK = SIGNALS + "test_the_end_delivers_although_a_handler_raised_when_the_exit_hook_was_prepared"
WINDOW = (
    "tests/reentry/test_windows.py::"
    "test_what_falls_between_the_last_look_and_the_end_is_served_within_the_interval"
)
POISON = (
    "tests/poison/test_poison.py::"
    "test_good_events_arrive_unchanged_and_poisoned_ones_as_documented[without_orjson]"
)
SENDER = "tests/test_sender.py::"
REFUSED = "tests/test_refused_batches.py::"
BISECTION = "tests/test_bisection.py::"
BACKOFF = "tests/test_backoff.py::"
ANSWERS = "tests/test_answers.py::test_the_answer"
WAITS = "tests/test_waits.py::"
STALLED = "tests/test_reports.py::test_a_queue_that_does_not_move_speaks_up_once"
FAULTY = (
    "tests/faults/test_schedules.py::"
    "test_everything_accepted_is_delivered_once_and_in_order_or_reported"
)
VERBS = "tests/test_verbs.py::"
REQUEST = "tests/test_request.py::"
DEADLINES = "tests/ends/test_deadlines.py::"
NEVER_ANSWERS = DEADLINES + "test_an_exit_ends_in_time_when_the_service_accepts_and_never_answers"


@dataclass(frozen=True)
class Defect:
    """A client with one mistake that a competent engineer could make.

    Attributes:
        name: what is wrong, for the table.
        invariants: the numbers of docs/proof.md that it breaks.
        edits: file of the package, text that occurs there exactly once, what replaces it.
        tests: node ids, without what only numbers the runs; each must fail in every run.
    """

    name: str
    invariants: tuple[int, ...]
    edits: tuple[tuple[str, str, str], ...]
    tests: tuple[str, ...]


def apply(defect: Defect, root: Path) -> None:
    """Plant the defect in the copy of the repository at `root`.

    Raises:
        ValueError: where an edit does not fit the source any more.
    """
    for name, text in edited(defect, root).items():
        (root / PACKAGE / name).write_text(text)


def edited(defect: Defect, root: Path) -> dict[str, str]:
    """The changed files' texts, by name; changes nothing.

    Raises:
        ValueError: where an edit does not fit the source any more.
    """
    texts: dict[str, str] = {}
    for name, old, new in defect.edits:
        text = texts.get(name) or (root / PACKAGE / name).read_text()
        if text.count(old) != 1:
            raise ValueError(f"{defect.name}: {name} has {text.count(old)} times {old!r}")
        texts[name] = text.replace(old, new)
    return texts


_TAKEN = "            value = self._values.setdefault(here, self._spare_or_new())\n"
_REGISTER = """\
        if not options.disabled:
            _exit.register()
            _wiring.connect()
"""
_NEW_ID = "        return os.getrandom(16).hex()  # keeps the GIL, which os.urandom gives up\n"
_APPEND = """\
        entries.extend(zip((body,), self._numbers[type(body)], (mark,)))  # noqa: B905
"""
_TAKE = """\
        with suppress(IndexError):  # an append that overflowed took some first
            batch.extend(map(deque.popleft, repeat(self._entries, wanted)))
"""
_REQUEUE = """\
        self._give_back(len(self._batch))
        self._drop_oldest()
"""
_CLOSE = "        if self._closed and self._files <= 0 and self._exchange.owner.holds():\n"
#: In the order of the invariants.
DEFECTS = [
    # --- The caller's side ----------------------------------------------------------------
    Defect(
        "a blocking lock in track(): the sender holds it while it takes",
        (1,),
        (
            (
                "_queue.py",
                "from collections import deque\n",
                """\
import threading
from collections import deque
""",
            ),
            ("_queue.py", '        "_look_at",\n', '        "_look_at",\n        "_lock",\n'),
            (
                "_queue.py",
                "        self._batch: list[Entry] = []\n",
                """\
        self._batch: list[Entry] = []
        self._lock = threading.Lock()
""",
            ),
            ("_queue.py", _APPEND, "        with self._lock:\n    " + _APPEND),
            (
                "_queue.py",
                _TAKE,
                _TAKE.replace("suppress(IndexError)", "self._lock, suppress(IndexError)"),
            ),
        ),
        (QUEUE + "test_a_signal_handler_that_tracks_is_counted_like_everyone",),
    ),
    Defect(
        "a threading.Event set in track()",
        (1, 12),
        (
            (
                "_waiter.py",
                """\
import _thread
import time
""",
                """\
import threading
import time
""",
            ),
            (
                "_waiter.py",
                """\
            new = _thread.allocate_lock()
            new.acquire()
""",
                "            new = threading.Event()\n",
            ),
            (
                "_waiter.py",
                """\
        if lock.locked():
            try:
                lock.release()
            except (RuntimeError, ValueError):
                return  # another thread was faster (gevent's lock raises ValueError)
""",
                "        lock.set()\n",
            ),
            (
                "_waiter.py",
                "            self._lock().acquire(True, min(seconds, _LONGEST_WAIT))\n",
                """\
            self._lock().wait(min(seconds, _LONGEST_WAIT))
            self._lock().clear()
""",
            ),
        ),
        ("tests/test_waiter.py::test_a_signal_handler_may_raise_the_flag_that_it_interrupts",),
    ),
    Defect(
        "str() of a value of an unknown type",
        (1, 2),
        (
            (
                "_encoding.py",
                """\
    if not issubclass(type(value), generic):
        return _stand_in(value)
    item""",
                """\
    if not issubclass(type(value), generic):
        return str(value)
    item""",
            ),
        ),
        ("tests/test_encoding.py::test_no_method_of_an_unknown_type_is_called[orjson-LoudObject]",),
    ),
    Defect(
        "encoding at send time: the queue holds the arguments",
        (2,),
        (
            (
                "_operation.py",
                "                return self._event(\n                    external_user_id,",
                "                return partial(  # type: ignore[return-value]\n"
                "                    self._event, external_user_id,",
            ),
            (
                "_operation.py",
                "import threading\n",
                "import threading\nfrom functools import partial\n",
            ),
            ("_queue.py", "before + len(body)", "before + 300"),
            ("_queue.py", "self._numbers[type(body)]", "self._numbers[bytes]"),
            (
                "_queue.py",
                "        self._give_back(len(batch) - _fitting",
                """\
        batch[:] = [
            (body() if callable(body) else body, *rest)  # type: ignore[misc]
            for body, *rest in batch
        ]
        self._give_back(len(batch) - _fitting""",
            ),
        ),
        (
            CLIENT + "test_what_is_delivered_is_what_the_arguments_were",
            "tests/test_operation.py::test_what_happens_to_the_arguments_after_the_call_changes_nothing",
        ),
    ),
    Defect(
        "before_send raised: the operation is sent as it was",
        (2,),
        (
            (
                "_operation.py",
                '            return Refusal("before_send", detail, name)\n',
                "            return fields\n",
            ),
        ),
        (CLIENT + "test_before_send_changes_and_discards",),
    ),
    Defect(
        "ids from a copied counter behind a random prefix",
        (3,),
        (
            (
                "_stamp.py",
                """\
import os
import time
""",
                """\
import itertools
import os
import time
""",
            ),
            (
                "_stamp.py",
                '_second: tuple[int, str] = (0, "")\n',
                """\
_second: tuple[int, str] = (0, "")
_prefix = os.urandom(8).hex()
_numbers = itertools.count()
""",
            ),
            ("_stamp.py", _NEW_ID, '        return f"{_prefix}{next(_numbers):016x}"\n'),
        ),
        ("tests/test_operation.py::test_a_child_s_ids_are_not_its_parent_s_nor_its_sibling_s",),
    ),
    Defect(
        "ids from the random module",
        (3,),
        (
            (
                "_stamp.py",
                """\
import os
import time
""",
                """\
import os
import random
import time
""",
            ),
            ("_stamp.py", _NEW_ID, '        return f"{random.getrandbits(128):032x}"\n'),
        ),
        ("tests/test_operation.py::test_a_seed_does_not_repeat_them",),
    ),
    Defect(
        "a value that holds itself is followed for ever",
        (2,),
        (
            (
                "_encoding.py",
                """\
    if id(value) in parents:
        return "<cycle>"
    if depth""",
                "    if depth",
            ),
        ),
        (POISON,),
    ),
    Defect(
        "NaN is written as it is",
        (2,),
        (
            (
                "_encoding.py",
                "    return exact if math.isfinite(exact) else None\n",
                "    return exact\n",
            ),
        ),
        (POISON,),
    ),
    Defect(
        "a lone surrogate is left as it is",
        (2,),
        (("_encoding.py", '.decode("utf-16", "replace")', '.decode("utf-16", "surrogatepass")'),),
        (POISON,),
    ),
    Defect(
        "a property in the place of a dataclass's field is called",
        (1, 2),
        (
            (
                "_encoding.py",
                "_stored(value, find(value, field.name))",
                "getattr(value, field.name)",
            ),
        ),
        (
            "tests/test_encoding.py::test_a_property_in_the_place_of_a_dataclass_field_is_not_read[orjson]",
        ),
    ),
    Defect(
        "before_send sees what it tracks itself, and that, too",
        (1, 2),
        (
            (
                "_operation.py",
                """\
        if here in self._in_before_send:
            return fields  # its own calls of the client do not pass through it again
""",
                "",
            ),
        ),
        (REENTRY + "test_before_send_tracks",),
    ),
    Defect(
        "before_send is skipped for ever after a signal handler raised in it",
        (1, 2),
        (
            (
                "_operation.py",
                """\
        try:
            self._in_before_send.add(here)  # inside: someone's exception may come at once
""",
                """\
        self._in_before_send.add(here)
        try:
""",
            ),
        ),
        (REENTRY + "test_before_send_filters_although_a_handler_raised_where_it_was_called",),
    ),
    Defect(
        "a delivery that a signal handler ended keeps the token",
        (1, 12),
        (("_sender.py", "            self._token.clear()\n", "            pass\n"),),
        (
            SIGNALS
            + "test_a_thread_delivers_although_a_handler_raised_at_the_end_of_an_inline_delivery",
        ),
    ),
    Defect(
        "a sender whose start a signal handler ended is never started again",
        (1, 12),
        (
            (
                "_sender.py",
                """\
        self._starting_until = now + _START_EXPIRES  # the thread itself takes the token
""",
                "        self._starting_until = NEVER\n",
            ),
            (
                "_sender.py",
                "from ._stack import is_inside\n",
                """\
from ._schedule import NEVER
from ._stack import is_inside
""",
            ),
        ),
        (SENDER + "test_a_sender_whose_start_a_signal_handler_ended_is_started_later",),
    ),
    Defect(
        "a refusal starts no sender",
        (1, 14),
        (
            (
                "_process.py",
                "            self._reporter.refuse(outcome)\n",
                """\
            self._reporter.refuse(outcome)
            return
""",
            ),
        ),
        (SENDER + "test_a_refusal_alone_starts_the_sender_which_reports_it",),
    ),
    # --- Forks ----------------------------------------------------------------------------
    Defect(
        "generation only: a fork in C goes unnoticed",
        (4,),
        (
            ("_fork.py", "    return os.getpid(), _generation\n", "    return 0, _generation\n"),
            (
                "_fork.py",
                "        return (os.getpid(), _generation) == self.identity\n",
                "        return (0, _generation) == self.identity\n",
            ),
            (
                "_fork.py",
                "        here = (os.getpid(), _generation)\n",
                "        here = (0, _generation)\n",
            ),
        ),
        (EXACTLY_ONCE + "[raw_fork-http]",),
    ),
    Defect(
        "pid only: a pid that is the same again hides a fork",
        (4,),
        (("_fork.py", "    _generation += 1\n", "    _generation += 0\n"),),
        ("tests/test_fork.py::test_a_pid_that_is_the_same_again_does_not_hide_a_fork",),
    ),
    Defect(
        "after_fork() drops the queue of the process that calls it",
        (4,),
        (
            (
                "_fork.py",
                """\
        current = self._current
        if current is not None and current[0] != identity():
            self._current = None
""",
                """\
        self._values.clear()
        self._current = None
""",
            ),
        ),
        (CLIENT + "test_after_fork_changes_nothing_in_a_process_that_did_not_fork",),
    ),
    Defect(
        "a loop over all clients in the fork hook",
        (5,),
        (
            (
                "_fork.py",
                "_generation = 0\n",
                """\
_generation = 0
_locals: list[ProcessLocal[object]] = []
""",
            ),
            (
                "_fork.py",
                "    _generation += 1\n",
                """\
    _generation += 1
    for local in _locals:
        local.refresh()
""",
            ),
            (
                "_fork.py",
                "        self._make = make\n",
                """\
        self._make = make
        _locals.append(self)
""",
            ),
        ),
        ("tests/test_fork.py::test_the_hook_does_as_much_for_thousands_as_for_one",),
    ),
    Defect(
        "a client dropped while it has operations takes them along",
        (5, 10),
        (
            ("_client.py", "process.abandon()", "pass"),
            (
                "_sender.py",
                "start_thread(partial(self._run, state))",
                "start_thread(partial(self._run, None))",
            ),
        ),
        (AT_THE_END + "[dropped_client]",),
    ),
    Defect(
        "inherited queue kept: a child takes over what its parent queued",
        (6,),
        (
            (
                "_fork.py",
                _TAKEN,
                _TAKEN
                + """\
            if current is not None:  # nothing that was queued before the fork gets lost
                value._queue._entries.extend(current[1]._queue._entries)
""",
            ),
        ),
        (EXACTLY_ONCE + "[os_fork-http]",),
    ),
    Defect(
        "a spare state has its locks before gevent patches their class",
        (1, 5),
        (
            (
                "_waiter.py",
                "        self._locks: dict[None, _thread.LockType] = {}\n",
                """\
        self._locks: dict[None, _thread.LockType] = {}
        self._lock()
""",
            ),
        ),
        (THREADS + "test_under_gevent_a_sender_that_waits_stops_no_other_greenlet",),
    ),
    Defect(
        "the spare that children take is the state that their parent uses",
        (6,),
        (
            (
                "_fork.py",
                "            return self._spares.pop()\n",
                "            return self._spares[0]\n",
            ),
        ),
        (
            EXACTLY_ONCE + "[os_fork-http]",
            "tests/test_fork.py::test_threads_that_race_on_first_use_get_the_same_value",
        ),
    ),
    Defect(
        "the child of a signal handler settles its parent's batch",
        (6,),
        (
            (
                "_fork.py",
                """\
        if not self.holds():
            raise ForkedAway
""",
                "        return\n",
            ),
        ),
        (CALLBACKS + "test_a_child_forked_by_a_signal_handler_leaves_the_delivery_to_the_parent",),
    ),
    Defect(
        "the copy of a sender greenlet reads its parent's answer",
        (6, 7),
        (("_connection.py", "        self.owner.check()\n", ""),),
        (GUARD + "[http-receive-os]",),
    ),
    Defect(
        "inherited session used: one for each address, kept over forks",
        (7,),
        (
            (
                "_transport.py",
                "_MAX_ANSWER_BYTES = 64 * 1024\n",
                """\
_MAX_ANSWER_BYTES = 64 * 1024
_sessions: dict[str, requests.Session] = {}
""",
            ),
            (
                "_transport.py",
                """\
            session = self._session
            if session is None:
                session = self._session = self._new_session()
""",
                """\
            session = _sessions.get(self._url)
            if session is None:
                session = _sessions[self._url] = self._new_session()
""",
            ),
        ),
        (EXACTLY_ONCE + "[raw_fork-http]",),
    ),
    Defect(
        "a pool finaliser closes the parent's descriptor in the child",
        (7,),
        (
            (
                "_adapter.py",
                """\
            if not owner.holds():
                raise queue.Empty
""",
                "",
            ),
            ("_connection.py", _CLOSE, "        if self._closed and self._files <= 0:\n"),
        ),
        (GUARD + "[http-close_session-os]", GUARD + "[http-take-os]"),
    ),
    Defect(
        "system trust added to a given bundle",
        (7,),
        (
            (
                "_adapter.py",
                "    context = DeadlineContext(ssl.PROTOCOL_TLS_CLIENT)\n",
                """\
    context = DeadlineContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_default_certs()
""",
            ),
        ),
        (
            TRANSPORT + "test_the_bundle_alone_is_trusted_not_the_system_store[verify]",
            TRANSPORT + "test_the_bundle_alone_is_trusted_not_the_system_store[REQUESTS_CA_BUNDLE]",
        ),
    ),
    Defect(
        "OpenSSL's generators are drawn from in a child whose locks may be copies held",
        (12,),
        (("_openssl.py", "    if _proven == here:\n", "    if True:\n"),),
        (OPENSSL + "test_a_child_draws_from_its_generators_only_after_it_made_a_context[os_fork]",),
    ),
    Defect(
        "OpenSSL seeds its generators in a handshake, where a fork may fall into it",
        (7,),
        (("_openssl.py", "        _seed()\n", "        pass\n"),),
        (
            OPENSSL
            + "test_a_child_draws_from_its_generators_only_after_it_made_a_context[raw_fork]",
        ),
    ),
    Defect(
        "a thread at construction",
        (8,),
        (
            (
                "_client.py",
                _REGISTER,
                _REGISTER + "            self._local.get()._sender.notify()\n",
            ),
        ),
        (
            "tests/test_imports.py::test_the_import_pulls_in_no_framework_and_a_construction_starts_no_thread",
            AT_THE_END + "[made_and_not_used]",
        ),
    ),
    Defect(
        "a TLS context at construction",
        (8,),
        (
            ("_client.py", _REGISTER, _REGISTER + "            self._local.get()\n"),
            (
                "_transport.py",
                "        self._exchange = Exchange(owner)\n",
                """\
        self._exchange = Exchange(owner)
        self._adapter = DeadlineAdapter(self._exchange)
""",
            ),
            (
                "_transport.py",
                "                adapter = DeadlineAdapter(self._exchange)\n",
                "                adapter = self._adapter\n",
            ),
            (
                "_adapter.py",
                "        self._contexts: dict[tuple[Any, Any], ssl.SSLContext] = {}\n",
                "        self._contexts = {(True, None): _tls_context(exchange, True)}\n",
            ),
        ),
        (FIRST_DELIVERY,),
    ),
    Defect(
        "a thread of gevent's pool starts its sender as a greenlet",
        (8,),
        (
            (
                "_threads.py",
                "    if in_gevent_pool():\n        start = ",
                "    if False:\n        start = ",
            ),
        ),
        (THREADS + "test_under_gevent_it_does_not_matter_who_tracks_first[pool_first]",),
    ),
    Defect(
        "one late import left, for the address: encodings.punycode",
        (9,),
        (
            (
                "_transport.py",
                "import encodings.punycode  # noqa: F401",
                "# Not imported:",
            ),
        ),
        (LATE_IMPORTS + "[b\\xfccher.invalid]",),
    ),
    Defect(
        "one late import left, for the exit: gc",
        (9,),
        (("_transport.py", "import gc  # noqa: F401 - weakref.finalize, at the exit\n", ""),),
        (
            "tests/test_imports.py::test_neither_a_printed_report_nor_an_exit_imports_anything[exit]",
        ),
    ),
    Defect(
        "an exit hook for each client",
        (5,),
        (
            (
                "_client.py",
                "import contextlib\n",
                """\
import atexit
import contextlib
""",
            ),
            (
                "_client.py",
                "            _exit.register()\n",
                "            atexit.register(_exit.run_exit_hook)\n",
            ),
        ),
        (DROPPED + "test_ten_thousand_clients_that_were_never_used_leave_nothing",),
    ),
    Defect(
        "the exit hook's list of clients is never pruned",
        (5,),
        (("_exit.py", "        _prune()\n", "        pass\n"),),
        (DROPPED + "test_clients_that_delivered_and_were_dropped_leave_nothing[http]",),
    ),
    Defect(
        "a cycle keeps a dropped client's state",
        (5,),
        (
            (
                "_sender.py",
                "        self._state = weakref.ref(state)\n",
                "        self._state = lambda: state\n",
            ),
        ),
        (DROPPED + "test_clients_that_delivered_and_were_dropped_leave_nothing[http]",),
    ),
    Defect(
        "a dropped client's sender waits for the timer",
        (5,),
        (("_loop.py", "self._queue.accepted if self.closing else self._wanted", "self._wanted"),),
        (DROPPED + "test_a_dropped_client_delivers_what_it_holds_and_ends[100]",),
    ),
    Defect(
        "a client that was shut down keeps its connection",
        (5,),
        (("_loop.py", "        self._delivery.close()\n", "        pass\n"),),
        (DROPPED + "test_a_client_that_was_shut_down_holds_no_connection[http]",),
    ),
    Defect(
        "an idle thread of gevent's pool leaves its connection",
        (5,),
        (("_loop.py", "if self.closing or in_gevent_pool():", "if self.closing:"),),
        (THREADS + "test_an_idle_thread_of_gevents_pool_leaves_no_connection",),
    ),
    Defect(
        "a child that drops its parent's client ends the parent's sender",
        (5, 6),
        (
            (
                "_client.py",
                """\
            process = self._local.peek()
            if process is not None:
                process.abandon()
""",
                """\
            current = self._local._current
            if current is not None:
                current[1].abandon()
""",
            ),
        ),
        (DROPPED_IN_CHILD + "[raw_fork]",),
    ),
    Defect(
        "a child that a callback forked out of the sender thread goes on as a sender",
        (6,),
        (
            (
                "_reporter.py",
                """\
        if not self._owner.holds():
            raise ForkedInCallback from raised
""",
                "",
            ),
        ),
        (
            FORKED_BY_LOG_HANDLER,
            FORKED_IN_TRACK + "[on_error-sys_exit]",
        ),
    ),
    Defect(
        "a child that a callback forked out of the sender thread returns from the thread",
        (6,),
        (("_sender.py", "            end_child(away.__cause__)\n", "            return\n"),),
        (FORKED_BY_LOG_HANDLER,),
    ),
    Defect(
        "such a child shows what was raised by itself, not through sys.excepthook",
        (6,),
        (
            (
                "_exit.py",
                """\
import time
import weakref
""",
                """\
import time
import traceback
import weakref
""",
            ),
            (
                "_exit.py",
                "        sys.excepthook(type(raised), raised, raised.__traceback__)",
                "        traceback.print_exception(raised)",
            ),
        ),
        (FORKED_BY_LOG_HANDLER,),
    ),
    Defect(
        "such a child does not end of a KeyboardInterrupt as of a signal",
        (6,),
        (
            (
                "_exit.py",
                """\
        if isinstance(raised, KeyboardInterrupt):
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            signal.raise_signal(signal.SIGINT)
""",
                "",
            ),
        ),
        (FORKED_BY_LOG_HANDLER,),
    ),
    Defect(
        "such a child does not wait for its threads",
        (6,),
        (
            (
                "_exit.py",
                "for step in (_wait_for_threads, _run_exit_handlers",
                "for step in (_run_exit_handlers",
            ),
        ),
        (FORKED_BY_SENDER,),
    ),
    Defect(
        "such a child runs no exit handler",
        (6, 10),
        (
            (
                "_exit.py",
                "(_wait_for_threads, _run_exit_handlers, _flush_output,",
                "(_wait_for_threads, _flush_output,",
            ),
        ),
        (FORKED_BY_LOG_HANDLER,),
    ),
    Defect(
        "such a child of a multiprocessing child runs inherited exit handlers",
        (6, 10),
        (
            (
                "_exit.py",
                """\
    if process is None or process.parent_process() is None or sys.version_info >= (3, 13):
""",
                "    if True:\n",
            ),
        ),
        (FORKED_IN_PROCESS,),
    ),
    Defect(
        "such a child does not flush its output",
        (6,),
        (
            (
                "_exit.py",
                "_run_exit_handlers, _flush_output, _flush_errors",
                "_run_exit_handlers, _flush_errors",
            ),
        ),
        (FORKED_BY_LOG_HANDLER,),
    ),
    Defect(
        "a child that a callback forked in flush() gets its parent's result",
        (6,),
        (
            (
                "_process.py",
                """\
        if not self.owner.holds():
            return FlushResult()
""",
                "",
            ),
        ),
        (FORKED_IN_FLUSH + "[on_error-flush-return]",),
    ),
    Defect(
        "sys.exit() in a child that a callback forked in flush() is kept",
        (6,),
        (
            (
                "_process.py",
                "            raise cause from None  # sys.exit() in the child\n",
                "            pass\n",
            ),
        ),
        (CALLBACKS + "test_what_ends_the_child_passes_through_the_call[on_error-sys_exit]",),
    ),
    Defect(
        "the sign of a fork leaves track()",
        (1, 6, 13),
        (
            (
                "_process.py",
                """\
            with _children_return():
                self._sender.deliver_inline()
""",
                "            self._sender.deliver_inline()\n",
            ),
        ),
        (FORKED_IN_TRACK + "[on_error-return]",),
    ),
    Defect(
        "a child that a callback forked at the exit delivers nothing",
        (6, 10),
        (
            (
                "_exit.py",
                """\
        if identity() != here:  # the child of a callback: what it registered here is ignored
            run_exit_hook()
""",
                "",
            ),
        ),
        (FORKED_AT_EXIT + "[on_error-return]",),
    ),
    Defect(
        "a copy of the sender greenlet does as plain requests does",
        (6, 7),
        (("_transport.py", "                session.mount(prefix, adapter)\n", ""),),
        (GEVENT + "[os_fork-recv-http]",),
    ),
    Defect(
        "the copy of a sender greenlet that pauses goes on",
        (6, 7),
        (
            (
                "_fork.py",
                """\
        if not self.holds():
            raise ForkedAway
""",
                "        return\n",
            ),
        ),
        (GEVENT + "[os_fork-backoff-http]",),
    ),
    Defect(
        "the pools' own queues, with their locks",
        (7,),
        (
            (
                "_adapter.py",
                """\
        ConnectionCls = PlainConnection
        QueueCls = queue_class
""",
                "        ConnectionCls = PlainConnection\n",
            ),
            (
                "_adapter.py",
                """\
        ConnectionCls = SecureConnection
        QueueCls = queue_class
""",
                "        ConnectionCls = SecureConnection\n",
            ),
            (
                "_transport.py",
                "            free_pools_of_locks(mounted, self._exchange.owner)\n",
                "            del mounted\n",
            ),
        ),
        (UNTOUCHED + "[exit-1-1-http]",),
    ),
    Defect(
        "a user's adapter keeps the queues of its pools, with their locks",
        (7,),
        (
            (
                "_transport.py",
                "            free_pools_of_locks(mounted, self._exchange.owner)\n",
                "            del mounted\n",
            ),
        ),
        (HELD + "[pool_queue_lock-raw_fork-http]",),
    ),
    Defect(
        "a child's pool finaliser gets its parent's connections",
        (7,),
        (
            (
                "_adapter.py",
                """\
            if not owner.holds():
                raise queue.Empty
""",
                "",
            ),
        ),
        (UNTOUCHED + "[exit-1-1-http]",),
    ),
    Defect(
        "a session at construction",
        (8,),
        (
            ("_client.py", _REGISTER, _REGISTER + "            self._local.get()\n"),
            (
                "_transport.py",
                "        self._adapters: list[DeadlineAdapter] = []\n",
                """\
        self._adapters: list[DeadlineAdapter] = []
        self._session = self._new_session()
""",
            ),
        ),
        (FIRST_DELIVERY,),
    ),
    Defect(
        "an idle sender never ends",
        (8,),
        (
            (
                "_schedule.py",
                """\
        return now - self._busy_at >= max(_IDLE_PERIODS * self.period, _SHORTEST_IDLE)
""",
                "        return False\n",
            ),
        ),
        (CLIENT + "test_an_idle_sender_ends_and_is_started_again",),
    ),
    # --- Ends -----------------------------------------------------------------------------
    Defect(
        "the exit hook is registered at first use only",
        (10,),
        (("_client.py", _REGISTER, ""),),
        (AT_THE_END + "[first_use_in_atexit]",),
    ),
    Defect(
        "atexit without multiprocessing's Finalize",
        (10,),
        (
            (
                "_exit.py",
                """\
    if util is not None:
        _register_finalizer(util, here)
""",
                "",
            ),
        ),
        (EXACTLY_ONCE + "[mp_one_event-http]",),
    ),
    Defect(
        "the fork server clears the finalizer and nobody looks",
        (10,),
        (("_exit.py", " or not _finalizer[1].still_active()", ""),),
        (EXACTLY_ONCE + "[mp_forkserver-http]",),
    ),
    Defect(
        "one client after the other at the exit",
        (10, 12),
        (
            (
                "_exit.py",
                """\
    waiting = [
        (ending, ending.start(min(deadline, ending.patience()), at_exit=True)) for ending in working
    ]
    results = finish_all(waiting, lambda ending, waiter: ending.finish(waiter))
    return [ending for ending, result in results if result.queued]
""",
                """\
    finished = [ending.finish(ending.start(deadline, at_exit=True)) for ending in working]
    return [ending for ending, result in zip(working, finished) if result.queued]
""",
            ),
        ),
        (HEALTHY + "[two_clients_the_hanging_one_first-none]",),
    ),
    Defect(
        "the sender is not waited for at the exit",
        (11,),
        (
            (
                "_sender.py",
                "                waiter.wait(_LOOK_AGAIN)\n",
                """\
                if waiter.at_exit:
                    break  # the sender is awake and delivers
                waiter.wait(_LOOK_AGAIN)
""",
            ),
        ),
        (ENDS + "test_an_exit_waits_for_the_sender_whose_answer_is_slow",),
    ),
    Defect(
        "an operation of a later atexit handler stays in the queue",
        (11,),
        (
            (
                "_process.py",
                """\
        if self._late_seconds is not None:
            self._deliver_late(self._late_seconds)
        elif not (self._sender.notify() or _uwsgi.only_forks()):
""",
                "        if not (self._sender.notify() or _uwsgi.only_forks()):\n",
            ),
        ),
        (AT_THE_END + "[atexit_handlers]",),
    ),
    Defect(
        "a thread that outlives the last hook of multiprocessing's is forgotten",
        (11, 14),
        (
            (
                "_exit.py",
                """\
        util.register_after_fork(run_exit_hook, lambda _: _register_finalizer(util, identity()))
""",
                "",
            ),
        ),
        (AT_THE_END + "[threads_outlive_their_target]",),
    ),
    Defect(
        "calls after the last hook are tried until a time after it, whenever they come",
        (11, 14),
        (
            (
                "_process.py",
                """\
        began = time.monotonic()
        for _ in range(2):  # again""",
                """\
        began = self._late_since
        for _ in range(2):  # again""",
            ),
            (
                "_process.py",
                "        self._late_seconds = max(0.0, seconds)\n",
                """\
        self._late_seconds = max(0.0, seconds)
        self._late_since = time.monotonic()
""",
            ),
        ),
        (AT_THE_END + "[threads_outlive_their_target]",),
    ),
    Defect(
        "a timeout that restarts with every byte",
        (12,),
        (
            (
                "_connection.py",
                """\
        wait_for_read(sock, self.remaining())
        self.remaining()
""",
                """\
        seconds = self.remaining()
        if wait_for_read(sock, seconds):
            self.deadline = time.monotonic() + seconds  # it is alive
        self.remaining()
""",
            ),
        ),
        (TRANSPORT + "test_a_trickle_of_bytes_does_not_restart_the_deadline[status line]",),
    ),
    Defect(
        "Retry-After is ignored",
        (12,),
        (
            (
                "_backoff.py",
                "        if retry_after is not None:\n",
                "        if retry_after is not None and self.spent:\n",
            ),
        ),
        (CLIENT + "test_retry_after_is_the_least_pause",),
    ),
    Defect(
        "Retry-After is not spread: everyone comes back in the same moment",
        (12,),
        (("_backoff.py", " + self.jitter(0, least * RETRY_AFTER_SPREAD)", ""),),
        (
            BACKOFF + "test_a_retry_after_that_many_were_given_is_spread_upwards_by_half",
            FLEET + "test_a_return_for_which_everyone_is_given_the_same_moment",
        ),
    ),
    Defect(
        "workers that boot together post together",
        (12,),
        (
            (
                "_loop.py",
                "first = self._delivery.backoff.jitter(0, self._schedule.period)",
                "first = self._schedule.period",
            ),
        ),
        (FLEET + "test_workers_that_boot_together_do_not_post_together",),
    ),
    Defect(
        "a back-off without jitter",
        (12,),
        (("_backoff.py", "now + self.jitter(0, longest))", "now + longest)"),),
        (FLEET + "test_workers_that_failed_in_one_moment_do_not_come_back_in_one",),
    ),
    Defect(
        "the pauses of a back-off double, so that a fleet's first retries add up",
        (12,),
        (("_backoff.py", "DELAY_GROWTH = 3", "DELAY_GROWTH = 2"),),
        (FLEET + "test_the_first_seconds_of_an_outage_are_its_worst",),
    ),
    Defect(
        "a backlog goes out without pauses after an outage",
        (12,),
        (("_backoff.py", "self.paced_until = now + self.jitter(0, 2 * CATCH_UP_PAUSE)", "pass"),),
        (
            BACKOFF + "test_what_piled_up_in_an_outage_goes_out_at_a_pace",
            PACE + "[event]",
            PACE + "[identify]",
        ),
    ),
    Defect(
        "a backlog of identifies counts as one request",
        (12,),
        (
            (
                "_delivery.py",
                "behind = len(self._queue) > 0",
                "behind = len(self._queue) >= self._max_batch_size",
            ),
        ),
        (PACE + "[identify]",),
    ),
    Defect(
        "a refused thread start goes unnoticed",
        (13,),
        (
            (
                "_sender.py",
                """\
            self._loop.threadless = "interpreter shutdown" not in str(error)
            return False
""",
                "            return True\n",
            ),
        ),
        (CLIENT + "test_without_threads_track_delivers_inline_and_that_is_said_once",),
    ),
    Defect(
        "an inline delivery in a signal handler and in an event loop",
        (1, 13),
        (
            (
                "_inline.py",
                "    return not (_in_event_loop() or _in_signal_handler())\n",
                "    return True\n",
            ),
        ),
        (
            CLIENT
            + "test_without_threads_nothing_is_delivered_in_an_event_loop_or_a_signal_handler",
        ),
    ),
    Defect(
        "the hook counts as registered although a signal handler ended that",
        (1, 10),
        (
            (
                "_exit.py",
                """\
        atexit.register(run_exit_hook)  # first: someone's exception may come between
        _atexit_in = here
""",
                """\
        _atexit_in = here
        atexit.register(run_exit_hook)
""",
            ),
        ),
        (STRUCK + "[construction_struck]",),
    ),
    Defect(
        "the state is known to the hook only if nothing interrupted its first use",
        (1, 10),
        (
            (
                "_fork.py",
                """\
            value = self._values.setdefault(here, self._spare_or_new())
        self._adopt(value, here)  # also when someone's exception interrupted the call that made it
""",
                """\
            value = self._values.setdefault(here, self._spare_or_new())
            self._adopt(value, here)
""",
            ),
        ),
        (STRUCK + "[first_use_struck]",),
    ),
    Defect(
        "an idle end without the second look",
        (10, 12),
        (
            (
                "_sender.py",
                """\
            while self._run_once() and self._loop.has_work():
                pass  # something came between the last look and the end of the token
""",
                "            self._run_once()\n",
            ),
        ),
        (WINDOW + "[track-after_the_last_turn]",),
    ),
    Defect(
        "a pause without the second look",
        (12,),
        (
            (
                "_loop.py",
                """\
        enough = self.idle and len(self._queue) >= self._schedule.flush_at  # since we looked
""",
                "        enough = False\n",
            ),
        ),
        (SENDER + "test_operations_between_the_last_look_and_the_pause_start_a_delivery",),
    ),
    Defect(
        "what comes while the exit hook delivers stays in the queue",
        (10, 11),
        (("_exit.py", "        deliver_all(fresh, started + timeout)\n", ""),),
        (LAST_CALLS + "test_an_operation_of_a_thread_beside_the_last_exchange_is_delivered",),
    ),
    Defect(
        "a new thread is needed at the exit",
        (11,),
        (
            (
                "_sender.py",
                """\
        if not waiter.at_exit:
            self.notify()
""",
                "        self.notify()\n",
            ),
            (
                "_sender.py",
                "alone = not self.running if waiter.at_exit else not self.notify()",
                "alone = not waiter.at_exit and not self.notify()",
            ),
        ),
        (AT_THE_END + "[no_new_thread_at_exit]",),
    ),
    Defect(
        "what a callback tracks in a delivery after the last stays in the queue",
        (11,),
        (("_process.py", "for _ in range(2):", "for _ in range(1):"),),
        (
            LAST_CALLS
            + "test_what_a_log_handler_tracks_in_a_flush_after_the_last_delivery_is_delivered",
        ),
    ),
    Defect(
        "a flush in a signal handler waits for the delivery that it interrupts",
        (12,),
        (
            (
                "_sender.py",
                "        return self._token.mine() or self._loop.reporting()\n",
                "        return self._loop.reporting()\n",
            ),
        ),
        (FLUSH_IN_HANDLER + "[flush_in_an_inline_delivery-False]",),
    ),
    Defect(
        "a flush in on_error waits for the report that it is in",
        (12,),
        (
            (
                "_sender.py",
                "        return self._token.mine() or self._loop.reporting()\n",
                "        return self._token.mine()\n",
            ),
        ),
        (LAST_REPORT + "[on_error_flushes]",),
    ),
    Defect(
        "the exit's wait for a sender has no deadline",
        (12,),
        (
            (
                "_sender.py",
                "            while not waiter.over():\n",
                "            while not waiter.finished:\n",
            ),
        ),
        (NEVER_ANSWERS + "[in_exchange-http]",),
    ),
    Defect(
        "an exchange at the exit may take longer than the exit",
        (12,),
        (
            (
                "_loop.py",
                "self._step(min(now + self._request_timeout, waiter.deadline))",
                "self._step(now + self._request_timeout)",
            ),
        ),
        (NEVER_ANSWERS + "[none-http]",),
    ),
    Defect(
        "connecting has a timeout of its own",
        (12,),
        (
            (
                "_connection.py",
                "        ready = wait_for_write(sock, self.remaining() * share)\n",
                "        ready = wait_for_write(sock, 30.0)\n",
            ),
        ),
        (TRANSPORT + "test_an_address_that_never_answers_costs_the_deadline",),
    ),
    Defect(
        "a TLS handshake has no deadline",
        (12,),
        (
            (
                "_adapter.py",
                """\
            if not isinstance(sock, DeadlineSocket):
                return super().wrap_socket(sock, *args, **keywords)
""",
                """\
            if isinstance(sock, DeadlineSocket):
                sock.raw.settimeout(None)
                secure = super().wrap_socket(sock.raw, *args, **keywords)
                return DeadlineSocket(secure, exchange)
""",
            ),
        ),
        (TRANSPORT + "test_a_tls_handshake_that_never_ends_costs_the_deadline[False]",),
    ),
    Defect(
        "a refused connection is tried at an exit as often as at any time",
        (10, 12),
        (
            (
                "_delivery.py",
                """\
        if at_exit and outcome.refused:
            self.backoff.refused_at_exit(now)
        else:
            self.backoff.failed(now, outcome.retry_after)
""",
                "        self.backoff.failed(now, outcome.retry_after)\n",
            ),
        ),
        (DEADLINES + "test_an_exit_tries_a_refused_port_twice",),
    ),
    Defect(
        "a flush waits in vain for a pause that ends after its timeout",
        (12,),
        (
            (
                "_loop.py",
                """\
        return (backoff.spent or backoff.resume_at > waiter.deadline) and not self._hurried
""",
                "        return False\n",
            ),
        ),
        (CLIENT + "test_a_flush_does_not_wait_for_a_pause_beyond_its_timeout",),
    ),
    # --- Accounts -------------------------------------------------------------------------
    Defect(
        "silent overflow",
        (14,),
        (
            (
                "_reporter.py",
                "            return self._counters.dropped[reason].value - before\n",
                "            return 0\n",
            ),
        ),
        (CLIENT + "test_a_full_queue_drops_the_oldest_and_says_how_many",),
    ),
    Defect(
        "a batch is dropped on requeue",
        (14,),
        (("_queue.py", _REQUEUE, "        self._batch.clear()\n"),),
        (CLIENT + "test_retries_are_spent_once_and_everything_is_kept",),
    ),
    Defect(
        "a batch is sent twice: it stays in flight when it goes back to the queue",
        (14,),
        (
            (
                "_queue.py",
                _REQUEUE,
                """\
        self._entries.extendleft(reversed(self._batch))
        self._drop_oldest()
""",
            ),
        ),
        (CLIENT + "test_retries_are_spent_once_and_everything_is_kept",),
    ),
    Defect(
        "a batch is sent twice: the body of a 202 broke off",
        (14,),
        (("_transport.py", '            answer = b""\n', "            raise\n"),),
        (TRANSPORT + "test_the_status_decides_where_the_body_breaks_off[202-Verdict.OK-silence]",),
    ),
    Defect(
        "order broken: events overtake the identify before them",
        (14,),
        (
            (
                "_queue.py",
                """\
    events = kinds.index(Identify) if Identify in kinds else len(kinds)
""",
                """\
    events = 1 if kinds[:1] == [Identify] else len(kinds)
""",
            ),
        ),
        (CLIENT + "test_operations_are_delivered_in_the_order_of_their_calls",),
    ),
    Defect(
        "order broken: a batch that failed goes to the end of the queue",
        (14,),
        (
            (
                "_queue.py",
                _REQUEUE,
                """\
        while self._batch:
            self._entries.append(self._batch.pop(0))
        self._drop_oldest()
""",
            ),
        ),
        (QUEUE + "test_a_requeued_batch_goes_to_the_front_in_its_order",),
    ),
    Defect(
        "a counter computed from the others",
        (14,),
        (
            (
                "_stats.py",
                "            called=self.calls,\n",
                """\
            called=self.accepted.value
            + sum(counter.value for counter in self.refused.values()),
""",
            ),
        ),
        (
            "tests/test_process.py::test_each_number_is_recorded_and_none_is_computed_from_the_others",
        ),
    ),
    Defect(
        "two statements where one C call was: an exception may part a move from its count",
        (1, 14),
        (
            (
                "_queue.py",
                "        counter.advance(map(list.pop, repeat(self._batch, count)))\n",
                """\
        for _ in range(count):
            entry = self._batch.pop()
            counter.advance((entry,))
""",
            ),
        ),
        (QUEUE + "test_thousands_of_interruptions_lose_and_double_nothing[1000000000-1000000000]",),
    ),
    Defect(
        "a loss after the last delivery is not reported",
        (14,),
        (
            (
                "_process.py",
                """\
        self._late_seconds = max(0.0, seconds - (time.monotonic() - began))
        self.report_left()
""",
                """\
        self._late_seconds = max(0.0, seconds - (time.monotonic() - began))
""",
            ),
        ),
        (ENDS + "test_an_operation_of_a_late_handler_that_cannot_be_delivered_is_reported",),
    ),
    Defect(
        "a thread is started in a uWSGI master",
        (8,),
        (
            (
                "_sender.py",
                """\
        if _uwsgi.only_forks():
            return False
""",
                "",
            ),
        ),
        (HANDOVER + f"test_a_master_never_has_a_second_thread[{_PYTHON}-default]",),
    ),
    Defect(
        "every worker delivers what the uWSGI master queued",
        (6, 8),
        (
            (
                "_handover.py",
                "                fcntl.lockf(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)\n",
                "",
            ),
        ),
        (
            HANDOVER
            + "test_one_of_four_workers_that_start_at_once_delivers_although_none_tracks"
            + f"[{_PYTHON}]",
        ),
    ),
    Defect(
        "a worker notes nothing of what it took over: its successor sends it all again",
        (6, 8),
        (
            (
                "_handover.py",
                "            self._record.write(self._numbers[done - 1] + 1, self._reported)\n",
                "            pass\n",
            ),
        ),
        (
            HANDOVER
            + f"test_what_a_killed_worker_had_delivered_of_it_does_not_come_again[{_PYTHON}]",
        ),
    ),
    Defect(
        "what was taken over counts as settled at once",
        (8, 10),
        (
            (
                "_handover.py",
                "        left = 0 if oldest is None else max(self.mark - oldest, 0)\n",
                "        left = 0 * (oldest or 0)\n",
            ),
        ),
        (HANDOVER + f"test_what_a_killed_worker_took_over_goes_to_its_successor[{_PYTHON}]",),
    ),
    Defect(
        "a worker of uWSGI's is known by a pid that its master writes too late",
        (8,),
        (
            (
                "_uwsgi.py",
                "        return bool(os.getppid() == uwsgi.masterpid())\n",
                '        return bool(uwsgi.workers()[uwsgi.worker_id() - 1]["pid"] == _pid())\n',
            ),
        ),
        (
            HANDOVER
            + f"test_a_worker_that_runs_before_the_master_knows_its_pid_takes_over[{_PYTHON}]",
        ),
    ),
    Defect(
        "a slot of uWSGI's is overwritten",
        (10,),
        (
            (
                "_hosts.py",
                """\
            if self._previous is not None:
                self._previous()
""",
                "            pass\n",
            ),
        ),
        (HANDOVER + f"test_hooks_of_the_application_run_beside_ours[{_PYTHON}-before-slots]",),
    ),
    Defect(
        "the application's slots stay what uwsgidecorators made of them",
        (8,),
        (
            (
                "_hosts.py",
                """\
    for slot, value in before.items():  # the application's own
        setattr(uwsgi, slot, value)
""",
                "",
            ),
        ),
        (HANDOVER + f"test_hooks_of_the_application_run_beside_ours[{_PYTHON}-before-slots]",),
    ),
    Defect(
        "a worker's end does not ask for what the master queued",
        (8, 10),
        (
            (
                "_hosts.py",
                """\
        self._after_fork()
        _exit.run_exit_hook()
""",
                "        _exit.run_exit_hook()\n",
            ),
        ),
        (
            HANDOVER
            + f"test_the_end_of_a_worker_takes_over_where_the_slot_was_overwritten[{_PYTHON}]",
        ),
    ),
    Defect(
        "calls in a uWSGI master after its forks are queued for nobody",
        (8, 14),
        (
            (
                "_process.py",
                "        if not _uwsgi.has_forked() and self._handover.offer(self._queue):\n",
                "        if self._handover.offer(self._queue):\n",
            ),
        ),
        (
            HANDOVER
            + f"test_calls_in_the_master_after_the_fork_are_refused_and_reported_once[{_PYTHON}]",
        ),
    ),
    Defect(
        "mules take what the uWSGI master queued",
        (8,),
        (
            (
                "_handover.py",
                "        if record is None or queue is None or not _uwsgi.is_worker():\n",
                "        if record is None or queue is None or _uwsgi.only_forks():\n",
            ),
        ),
        (HANDOVER + f"test_mules_and_spoolers_deliver_their_own_and_leave_the_masters[{_PYTHON}]",),
    ),
    Defect(
        "hooks that follow each other wait for a hanging service each",
        (10, 12),
        (
            (
                "_process.py",
                "            return NEVER\n        return self._given_up[1]\n",
                "            pass\n        return NEVER\n",
            ),
        ),
        ("tests/test_before_exit.py::test_a_service_that_hangs_is_waited_for_once",),
    ),
    Defect(
        "a wait in vain shortens what somebody asks for",
        (12,),
        (
            (
                "_process.py",
                """\
        result = self.finish(self.start(time.monotonic() + seconds, at_exit=True))
""",
                """\
        deadline = min(time.monotonic() + seconds, self.patience())
        result = self.finish(self.start(deadline, at_exit=True))
""",
            ),
        ),
        ("tests/test_before_exit.py::test_a_wait_that_somebody_asks_for_is_not_cut",),
    ),
    Defect(
        "the sender's thread handles signals under uWSGI, which ends the process in there",
        (10,),
        (
            (
                "_threads.py",
                """\
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals() - _FAULTS)
""",
                "",
            ),
        ),
        (
            HANDOVER
            + "test_a_signal_that_meets_the_senders_thread_does_not_end_its_worker"
            + f"[{_PYTHON}]",
        ),
    ),
    # --- What the service refuses ---------------------------------------------------------
    Defect(
        "a refused batch is dropped as a whole",
        (14,),
        (
            (
                "_bisection.py",
                "        alone = count == 1\n",
                "        alone = True\n",
            ),
        ),
        (REFUSED + "test_forty_in_a_row_cost_no_other",),
    ),
    Defect(
        "a half is asked as a whole although its other half was accepted",
        (14,),
        (
            (
                "_bisection.py",
                "        if oldest >= self._suspect:\n            self._probe *= _GROWTH\n",
                "        self._suspect = oldest\n        self._probe = self._end\n",
            ),
        ),
        (BISECTION + "test_nothing_is_asked_again_as_a_whole_whose_other_half_was_accepted[5]",),
    ),
    Defect(
        "a batch of offenders is asked for one by one to its end",
        (14,),
        (
            (
                "_bisection.py",
                "        if self._refusals >= MOST_REFUSALS:\n",
                "        if self._refusals >= MOST_REFUSALS * 10:\n",
            ),
        ),
        (REFUSED + "test_five_hundred_malformed_events_take_at_most_eighty_requests",),
    ),
    Defect(
        "a 413 says that what was refused holds an offender",
        (14,),
        (
            (
                "_bisection.py",
                "        if alone or not for_size:\n",
                "        if True:\n",
            ),
            (
                "_delivery.py",
                "sum(map(len, batch.bodies)) // 2",
                "self._max_bytes",
            ),
        ),
        (REFUSED + "test_a_batch_that_is_too_large_for_the_service_is_sent_in_halves",),
    ),
    Defect(
        "what a batch lost is reported for each event",
        (14,),
        (
            (
                "_delivery.py",
                "        self._drops.add(batch, reason, outcome)\n",
                "        self._drops.add(batch, reason, outcome)\n        self._drops.report()\n",
            ),
        ),
        (REFUSED + "test_more_of_them_scattered_cost_no_other[10]",),
    ),
    Defect(
        "what a batch lost is held back while the rest of it cannot be delivered",
        (14,),
        (
            (
                "_delivery.py",
                "        self._drops.report()  # the rest of the batch may be long in coming\n",
                "",
            ),
        ),
        (REFUSED + "test_what_was_lost_before_an_outage_is_not_held_back_by_it",),
    ),
    Defect(
        "an overflow is reported at every look",
        (14,),
        (
            (
                "_reporter.py",
                "            if self._new(reason) and now >= self._next_at[reason]:\n",
                "            if self._new(reason):\n",
            ),
        ),
        (
            "tests/test_reporter.py::"
            "test_what_goes_on_is_reported_at_once_and_then_at_a_bounded_rate",
        ),
    ),
    Defect(
        "the queue counts operations and no bytes",
        (14,),
        (
            (
                "_queue.py",
                "        if len(entries) > self._max_size or after > self._look_at:\n",
                "        if len(entries) > self._max_size:\n",
            ),
        ),
        (
            QUEUE + "test_a_queue_of_too_many_bytes_drops_the_oldest",
            LOAD + "test_memory.py::test_large_events_stay_within_the_byte_ceiling[refusing]",
        ),
    ),
    Defect(
        "an operation as large as the ceiling shares the bytes before it with a smaller one",
        (14,),
        (
            (
                "_queue.py",
                "        if after - mark > self._grain:\n",
                "        if before - mark > self._grain:\n",
            ),
        ),
        (QUEUE + "test_an_operation_as_large_as_the_ceiling_is_kept",),
    ),
    Defect(
        "bytes that have left the queue count for ever",
        (14,),
        (
            (
                "_queue.py",
                "            self._drop_while(too_big)\n",
                """\
            self._drop_while(too_big)
        if self._bytes > self._max_bytes:
            self._drop_while(map(len, repeat(self._entries, 1)))
""",
            ),
        ),
        (QUEUE + "test_bytes_that_have_left_the_queue_count_no_more",),
    ),
    Defect(
        "a worker ends before it has noted the last that it delivered of its master's",
        (6, 8),
        (
            (
                "_loop.py",
                "bool(len(self._queue) or self._waiters or",
                "bool(len(self._queue) or",
            ),
        ),
        ("tests/test_handover.py::test_an_exit_waits_until_the_last_settlement_is_noted",),
    ),
    # --- Load -----------------------------------------------------------------------------
    Defect(
        "new operations cut a back-off short",
        (12,),
        (
            (
                "_loop.py",
                """\
        if self.idle and len(self._queue) >= self._schedule.flush_at:
            self._wake.set()
""",
                """\
        if len(self._queue) >= self._schedule.flush_at:
            self._hurried = True
            self._wake.set()
""",
            ),
        ),
        (
            LOAD + "test_outage.py::"
            "test_whoever_goes_on_tracking_in_an_outage_does_not_cut_the_pauses_short",
            WAITS + "test_new_operations_never_cut_a_back_off_short",
        ),
    ),
    Defect(
        "as many events share a request as start a delivery, however many wait",
        (),
        (
            (
                "_delivery.py",
                "            return self._queue.take(self._max_batch_size, self._max_bytes)\n",
                "            return self._queue.take(20, self._max_bytes)\n",
            ),
        ),
        (LOAD + "test_throughput.py::test_a_tight_loop_fills_its_requests[10000]",),
    ),
    Defect(
        "an inline delivery takes as long as any other",
        (13,),
        (("_loop.py", "_INLINE_SECONDS = 1.0\n", "_INLINE_SECONDS = 10.0\n"),),
        (CLIENT + "test_an_inline_delivery_takes_at_most_a_second_and_pauses_after_a_failure",),
    ),
    Defect(
        "an inline delivery that failed is tried again by the next call",
        (13,),
        (
            (
                "_loop.py",
                "        return due and now >= self._resume_at()\n",
                "        return due\n",
            ),
        ),
        (CLIENT + "test_an_inline_delivery_takes_at_most_a_second_and_pauses_after_a_failure",),
    ),
    # --- Faults of the network ------------------------------------------------------------
    Defect(
        "a 1xx is taken for the answer",
        (14,),
        (
            (
                "_adapter.py",
                "            if not 100 <= status < 200:\n",
                "            if status != 100:\n",
            ),
        ),
        (FAULTY + "[12]",),
    ),
    Defect(
        "an exchange without an answer drops its batch",
        (14,),
        (
            (
                "_delivery.py",
                """\
        kept = len(batch) + len(self._queue)
        self._queue.requeue()
""",
                """\
        kept = len(batch) + len(self._queue)
        if outcome.status is None:
            self._queue.settle(len(batch), self._counters.dropped["rejected"])
        self._queue.requeue()
""",
            ),
        ),
        (FAULTY + "[19]",),
    ),
    Defect(
        "what moves from the queue into flight is missed by the look of flush() and of an exit",
        (10, 12),
        (
            (
                "_process.py",
                "self._counters.unsettled or self._loop.busy or",
                "self._queue.in_flight > 0 or self._loop.busy or",
            ),
        ),
        (
            "tests/test_process.py::"
            "test_an_operation_that_moves_during_the_look_is_work_all_the_same[is taken]",
        ),
    ),
    Defect(
        "a connection stays under a descriptor of stdio, which daemons replace",
        (14,),
        (("_connection.py", "_LAST_OF_STDIO = 2\n", "_LAST_OF_STDIO = -1\n"),),
        (
            "tests/test_connections.py::"
            "test_a_daemon_that_puts_dev_null_over_its_standard_input_takes_no_connection_away"
            "[False]",
        ),
    ),
    Defect(
        "a connection whose answer did not come in time is used for the next request",
        (12, 14),
        (
            (
                "_connection.py",
                """\
    host = connection._dns_host
    exchange.remaining()
""",
                """\
    kept: DeadlineSocket | None = getattr(exchange, "kept", None)
    if kept is not None and kept.fileno() != -1:
        return kept
    host = connection._dns_host
    exchange.remaining()
""",
            ),
            (
                "_connection.py",
                "            return connected\n",
                """\
            exchange.kept = connected  # type: ignore[attr-defined]
            return connected
""",
            ),
            (
                "_connection.py",
                _CLOSE + "            self.raw.close()\n",
                _CLOSE
                + """\
            if time.monotonic() < self._exchange.deadline:
                self.raw.close()
""",
            ),
        ),
        (FAULTY + "[2]",),
    ),
    Defect(
        "an answer is read whatever its size, and unpacked",
        (12,),
        (
            (
                "_transport.py",
                "            answer = response.raw.read(_MAX_ANSWER_BYTES, decode_content=False)\n",
                "            answer = response.content\n",
            ),
        ),
        (FAULTY + "[4]",),
    ),
    # --- Answers, waits and what is said of them -------------------------------------------
    Defect(
        "auth is reported for each attempt",
        (14,),
        (
            (
                "_delivery.py",
                "        if kind in self._said:\n",
                '        if kind in self._said and kind != "auth":\n',
            ),
        ),
        (ANSWERS + "[401]",),
    ),
    Defect(
        "retry_exhausted is reported for each round",
        (14,),
        (
            (
                "_delivery.py",
                "        if kind in self._said:\n",
                '        if kind in self._said and kind == "auth":\n',
            ),
        ),
        (ANSWERS + "[503]",),
    ),
    Defect(
        "a 2xx that is no answer of the service is sent again",
        (14,),
        (
            (
                "_outcome.py",
                "        return Outcome(Verdict.OK, status, detail, unexpected=True)\n    if not 0",
                "        return Outcome(Verdict.RETRY, status, detail)\n    if not 0",
            ),
        ),
        (ANSWERS + "[200-with-html-html]",),
    ),
    Defect(
        "a wrong address drops what was sent there",
        (14,),
        (("_outcome.py", "    if status in _MISCONFIGURED or", "    if status == 421 or"),),
        (ANSWERS + "[404]", ANSWERS + "[407]"),
    ),
    Defect(
        "the date form of Retry-After is ignored",
        (12,),
        (
            (
                "_transport.py",
                "        return Retry().parse_retry_after(retry_after)\n",
                "        return float(retry_after)\n",
            ),
        ),
        (ANSWERS + "[503-with-retry-after-date]",),
    ),
    Defect(
        "Retry-After counts on 429 alone",
        (12,),
        (
            (
                "_outcome.py",
                "retry_after=retry_after if status in (429, 503) else None",
                "retry_after=retry_after if status == 429 else None",
            ),
        ),
        (ANSWERS + "[503-with-retry-after-1]",),
    ),
    Defect(
        "whoever waits ends the service's pause, too",
        (12,),
        (
            (
                "_backoff.py",
                """\
        self.spent = False
        self.resume_at = self._floor
""",
                """\
        self.spent = False
        self.resume_at = 0.0
""",
            ),
        ),
        (WAITS + "test_who_has_less_time_than_the_services_pause_gives_up_at_once[shutdown]",),
    ),
    Defect(
        "a rest is not ended by whoever waits",
        (12,),
        (
            (
                "_backoff.py",
                """\
        self._exit_refusals = 0
        self.spent = False
        self.resume_at = self._floor
""",
                """\
        self._exit_refusals = 0
        self.resume_at = self.resume_at if self.spent else self._floor
        self.spent = False
""",
            ),
        ),
        (
            WAITS + "test_whoever_waits_ends_a_pause_of_ours_at_once[refused key-flush]",
            WAITS + "test_whoever_waits_ends_a_pause_of_ours_at_once[spent round-shutdown]",
            WAITS + "test_an_exit_ends_a_pause_of_ours_at_once[none]",
        ),
    ),
    Defect(
        "whoever waits waits for the pace after an outage",
        (12,),
        (
            (
                "_loop.py",
                "        hurried = self._waiters or self.closing\n",
                "        hurried = self.closing\n",
            ),
        ),
        (WAITS + "test_whoever_waits_is_not_kept_waiting_by_the_pace_after_an_outage",),
    ),
    Defect(
        "a flush waits for what is tracked after it",
        (12,),
        (
            (
                "_waiter.py",
                "        return oldest is None or oldest >= self.mark\n",
                "        return oldest is None\n",
            ),
        ),
        (WAITS + "test_a_flush_waits_for_what_was_accepted_before_it_and_for_no_more",),
    ),
    Defect(
        "a queue that does not move stays silent",
        (14,),
        (
            (
                "_loop.py",
                "        elif self._schedule.is_stalled(now, since):\n",
                "        elif self._schedule.is_stalled(now, since) and self.threadless:\n",
            ),
        ),
        (STALLED,),
    ),
    Defect(
        "a quiet time counts as a stall",
        (14,),
        (
            (
                "_loop.py",
                "            self._delivery.progressed_at = now if waiting else None\n",
                "            self._delivery.progressed_at = now\n",
            ),
        ),
        ("tests/test_reports.py::test_a_quiet_time_is_no_stall",),
    ),
    Defect(
        "a queue that does not move says so at each tick",
        (14,),
        (
            (
                "_loop.py",
                """\
            self._reporter.say_once(
                "stalled",
                "stalled",
""",
                """\
            self._reporter.report(
                "stalled",
""",
            ),
        ),
        (STALLED,),
    ),
    Defect(
        "a client certificate is not shown",
        (7,),
        (
            (
                "_adapter.py",
                "super().build_connection_pool_key_attributes(request, verify, cert)",
                "super().build_connection_pool_key_attributes(request, verify)",
            ),
            (
                "_adapter.py",
                "    def _context(self, key:",
                """\
    def cert_verify(self, conn: Any, url: str, verify: Any, cert: Any) -> None:
        super().cert_verify(conn, url, verify, None)  # type: ignore[no-untyped-call]

    def _context(self, key:""",
            ),
        ),
        (
            "tests/test_connections.py::"
            "test_a_client_certificate_of_the_session_is_shown[one file-our adapter]",
        ),
    ),
    Defect(
        "the key in a Location is not masked",
        (15,),
        (
            (
                "_outcome.py",
                "_masked(_without_query(location), secret)[:_MAX_LOCATION]",
                "_without_query(location)[:_MAX_LOCATION]",
            ),
        ),
        (
            "tests/test_outcome.py::test_a_secret_that_the_answer_quotes_is_in_no_part_of_the_outcome[302]",
        ),
    ),
    Defect(
        "the options show the key",
        (15,),
        (
            (
                "_options.py",
                '_HIDDEN = frozenset({"api_key", ',
                "_HIDDEN = frozenset({",
            ),
        ),
        ("tests/test_options.py::test_a_repr_shows_no_secret_and_no_callback",),
    ),
    Defect(
        "a frame of the constructor shows the key as one of its values",
        (15,),
        (
            (
                "_options.py",
                "        super().__init__(**given)  #",
                "        super().__init__(api_key, **given)  #",
            ),
        ),
        (
            "tests/test_secrecy.py::test_no_frame_of_a_failed_construction_shows_the_key_under_another_name[no_option]",
        ),
    ),
    Defect(
        "the service's own words stand in the text of a report",
        (15,),
        (
            (
                "_drops.py",
                'f"{what} dropped: {outcome.detail}."\n',
                'f"{what} dropped: {outcome.service_message or outcome.detail}."\n',
            ),
        ),
        (ANSWERS + "[400-one-event-an-identify]",),
    ),
    Defect(
        "headers that cannot be parsed are logged",
        (15,),
        (("_adapter.py", '        self.headers.set_payload("")\n', ""),),
        (TRANSPORT + "test_the_key_is_in_no_outcome_and_no_log_line[bad headers]",),
    ),
    Defect(
        "a child accepts what its parent's draft holds",
        (6,),
        (
            (
                "_verbs.py",
                "            if self._client._accepts_for(acceptor) and "
                "self._client._accepting() is acceptor:\n"
                "                acceptor.settle_call(body)\n",
                "            if (mine := self._client._accepting()) is not None:\n"
                "                mine.settle_call(body)\n",
            ),
        ),
        (VERBS + "test_a_forked_child_has_nothing_of_it[os_fork]",),
    ),
    Defect(
        "a child takes back what its parent's draft holds",
        (6, 14),
        (
            (
                "_verbs.py",
                "            if self._client._accepts_for(acceptor):\n"
                "                acceptor.settle_call(_ROLLED_BACK)\n",
                "            if (mine := self._client._accepting()) is not None:\n"
                "                mine.settle_call(_ROLLED_BACK)\n",
            ),
        ),
        (VERBS + "test_a_child_that_ends_with_its_parents_draft_takes_nothing_back[os_fork]",),
    ),
    Defect(
        "a draft that is dropped counts nothing",
        (14,),
        (("_verbs.py", "            self.take_back()\n", "            self._held.clear()\n"),),
        (
            VERBS
            + "test_what_is_taken_back_or_dropped_is_counted_and_neither_delivered_nor_reported"
            "[_drop]",
        ),
    ),
    Defect(
        "a client that was shut down meanwhile accepts what a draft holds",
        (14,),
        (
            (
                "_verbs.py",
                "            if self._client._accepts_for(acceptor) and "
                "self._client._accepting() is acceptor:\n",
                "            if self._client._accepts_for(acceptor):\n",
            ),
        ),
        (VERBS + "test_a_client_that_was_shut_down_meanwhile_refuses_what_is_accepted",),
    ),
    Defect(
        "a user whose id is 0 is taken for an anonymous one",
        (14,),
        (
            (
                "request.py",
                "        if user is None:\n            self._client._pass_over_anonymous()\n",
                "        if not user:\n            self._client._pass_over_anonymous()\n"
                "            return None\n",
            ),
        ),
        (REQUEST + "test_what_is_tracked_is_the_users[0]",),
    ),
]
