"""Wrong clients: each planted defect, and the tests that must fail on it.

Plain data. To add a row, add a `Defect` and run ``make mutants ARGS="its name"``; then
``make mutants WRITE=docs/proof.md`` writes the table of the documents anew.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

#: Where the files of the edits are, in the repository and in each copy of it.
PACKAGE = Path("src", "whisperr")

FORKS = "tests/forks/test_forks.py::"
EXACTLY_ONCE = FORKS + "test_every_operation_arrives_exactly_once"
ENDS = "tests/ends/test_ends.py::"
AT_THE_END = ENDS + "test_everything_queued_is_delivered_at_the_end"
CLIENT = "tests/test_client.py::"
HEALTHY = ENDS + "test_a_healthy_client_delivers_although_another_ones_service_hangs"
LATE_IMPORTS = "tests/test_imports.py::test_a_refusal_and_a_name_that_nobody_knows_import_nothing"
TRANSPORT = "tests/test_transport.py::"
QUEUE = "tests/test_queue.py::"
GUARD = "tests/test_adapter.py::test_a_child_leaves_its_parents_connection_alone"


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


_MAKE_STATE = "        self._local = ProcessLocal(lambda: ProcessState(options), _exit.adopt)\n"
_REGISTER = """\
        if not options.disabled:
            _exit.register()
"""
_NEW_ID = "        return os.getrandom(16).hex()  # keeps the GIL, which os.urandom gives up\n"
_APPEND = "        self._entries.extend(map(_entry, numbered))\n"
_TAKE = """\
        with suppress(IndexError):  # an append that overflowed took some first
            batch.extend(map(deque.popleft, repeat(self._entries, wanted)))
"""
_REQUEUE = """\
        self._give_back(len(self._batch))
        self._drop_oldest()
"""
_CLOSE = "        if self._closed and self._files <= 0 and self._exchange.owner.holds():\n"
_ENCODED = """\
    try:
        body = encode(fields)
    except (RecursionError, MemoryError):
        return Refusal("invalid", "The values could not be encoded: no stack or memory left.", name)
    if len(body) > MAX_OPERATION_BYTES:
        detail = f"An operation has at most {MAX_OPERATION_BYTES} bytes; this one has {len(body)}."
        return Refusal("too_large", detail, name)
    return Operation(kind, body, name)
"""

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
            ("_queue.py", '"_entries", "_max_size")', '"_entries", "_lock", "_max_size")'),
            (
                "_queue.py",
                "        self._batch: list[_Entry] = []\n",
                """\
        self._batch: list[_Entry] = []
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
        self._lock = _thread.allocate_lock()
        self._lock.acquire()
""",
                "        self._lock = threading.Event()\n",
            ),
            (
                "_waiter.py",
                """\
        if self._lock.locked():
            try:
                self._lock.release()
            except (RuntimeError, ValueError):
                return  # another thread was faster (gevent's lock raises ValueError)
""",
                "        self._lock.set()\n",
            ),
            (
                "_waiter.py",
                "            self._lock.acquire(True, min(seconds, _LONGEST_WAIT))\n",
                """\
            self._lock.wait(min(seconds, _LONGEST_WAIT))
            self._lock.clear()
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
    if generic is None or not issubclass(type(value), generic):
        return _stand_in(value)
""",
                """\
    if generic is None or not issubclass(type(value), generic):
        return str(value)
""",
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
                """\
    body: bytes
    event_type: str
""",
                """\
    fields: dict[str, Any]
    event_type: str

    @property
    def body(self) -> bytes:
        return encode(self.fields)
""",
            ),
            ("_operation.py", _ENCODED, "    return Operation(kind, fields, name)\n"),
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
                '            return Refusal("before_send", detail, name)\n        finally:',
                "            return fields\n        finally:",
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
            (
                "_sender.py",
                "        self._state = state\n",
                "        self._state = weakref.proxy(state)\n",
            ),
            (
                "_sender.py",
                "import time\n",
                """\
import time
import weakref
""",
            ),
        ),
        (AT_THE_END + "[dropped_client]",),
    ),
    Defect(
        "inherited queue kept: a child takes over what its parent queued",
        (6,),
        (
            (
                "_client.py",
                _MAKE_STATE,
                """\
        latest: list[ProcessState] = []

        def make() -> ProcessState:
            state = ProcessState(options)
            if latest:  # nothing that was queued before the fork gets lost
                state._queue._entries.extend(latest.pop()._queue._entries)
            latest.append(state)
            return state

        self._local = ProcessLocal(make, _exit.adopt)
""",
            ),
        ),
        (EXACTLY_ONCE + "[os_fork-http]",),
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
        (FORKS + "test_a_child_forked_by_a_signal_handler_leaves_the_delivery_to_the_parent",),
    ),
    Defect(
        "the child of an on_error that forks goes on with its parent's delivery",
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
        (FORKS + "test_a_child_forked_by_on_error_delivers_its_own_and_ends[sys_exit]",),
    ),
    Defect(
        "the copy of a sender greenlet reads its parent's answer",
        (6, 7),
        (("_connection.py", "        self.owner.check()\n", ""),),
        (
            GUARD + "[http-receive-os]",
            "tests/test_adapter.py::test_only_the_parent_reads_its_answer_when_a_gevent_process_forks[http]",
        ),
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
        (EXACTLY_ONCE + "[raw_fork-http]", EXACTLY_ONCE + "[raw_fork-https]"),
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
        "the pool's own queue, with its lock",
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
        ),
        (GUARD + "[http-take-os]",),
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
        "a session at construction",
        (8,),
        (
            ("_client.py", _REGISTER, _REGISTER + "            self._local.get()\n"),
            (
                "_transport.py",
                "        self._session: requests.Session | None = None\n",
                "        self._session: requests.Session | None = self._new_session()\n",
            ),
        ),
        (
            "tests/test_process.py::test_the_first_delivery_makes_the_session_and_the_tls_context[https]",
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
                "session.mount(prefix, DeadlineAdapter(self._exchange))",
                "session.mount(prefix, self._adapter)",
            ),
            (
                "_adapter.py",
                "        self._contexts: dict[tuple[Any, Any], ssl.SSLContext] = {}\n",
                "        self._contexts = {(True, None): _tls_context(exchange, True)}\n",
            ),
        ),
        (
            "tests/test_process.py::test_the_first_delivery_makes_the_session_and_the_tls_context[https]",
        ),
    ),
    Defect(
        "a thread of gevent's pool starts its sender as a greenlet",
        (8,),
        (
            (
                "_hosts.py",
                "    if _in_gevent_pool():\n        start = ",
                "    if False:\n        start = ",
            ),
        ),
        ("tests/test_hosts.py::test_under_gevent_it_does_not_matter_who_tracks_first[pool_first]",),
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
                "        (ending, ending.start(deadline, at_exit=True)) for ending in working",
                "        ending for ending in working",
            ),
            (
                "_exit.py",
                """\
    for ending, waiter in waiting:
        ending.finish(waiter)
""",
                """\
    for ending in waiting:
        ending.finish(ending.start(deadline, at_exit=True))
""",
            ),
        ),
        (HEALTHY + "[two_clients_the_hanging_one_first]",),
    ),
    Defect(
        "the sender is not waited for at the exit",
        (11,),
        (
            (
                "_sender.py",
                """\
                waiter.wait(_LOOK_AGAIN)
                self._owner.check()
""",
                "                break  # the sender is awake and delivers\n",
            ),
        ),
        (ENDS + "test_an_exit_waits_for_the_sender_whose_answer_is_slow",),
    ),
    Defect(
        "a new thread is needed at the exit",
        (11,),
        (
            (
                "_sender.py",
                "(waiter.at_exit or not self.notify()) and self._deliver_here(waiter)",
                "not self.notify() and self._deliver_here(waiter)",
            ),
        ),
        (AT_THE_END + "[no_new_thread_at_exit]",),
    ),
    Defect(
        "an operation of a later atexit handler stays in the queue",
        (11,),
        (
            (
                "_process.py",
                "            self._deliver_late(self._late_deadline)\n",
                "            self._sender.notify()\n",
            ),
        ),
        (AT_THE_END + "[atexit_handlers]",),
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
        (
            TRANSPORT + "test_a_trickle_of_bytes_does_not_restart_the_deadline[status line]",
            CLIENT + "test_an_answer_that_trickles_does_not_stretch_the_exchange",
        ),
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
        "a refused thread start goes unnoticed",
        (13,),
        (
            (
                "_sender.py",
                """\
            self._loop.threadless = True
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
    # --- Accounts -------------------------------------------------------------------------
    Defect(
        "silent overflow",
        (14,),
        (("_reporter.py", "        count = self._overflowed()\n", "        count = 0\n"),),
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
        if operation.kind == "identify" or size > MAX_BATCH_BYTES:
            return index
""",
                """\
        if operation.kind == "identify":
            continue
        if size > MAX_BATCH_BYTES:
            return index
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
                "_process.py",
                "            called=counters.called.value,\n",
                """\
            called=counters.accepted.value
            + sum(counter.value for counter in counters.refused.values()),
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
        (QUEUE + "test_thousands_of_interruptions_lose_and_double_nothing[1000000000]",),
    ),
    Defect(
        "a loss after the last delivery is not reported",
        (14,),
        (
            (
                "_process.py",
                """\
            self.finish(self.start(deadline, at_exit=True))
        self.report_left()
""",
                "            self.finish(self.start(deadline, at_exit=True))\n",
            ),
        ),
        (ENDS + "test_an_operation_of_a_late_handler_that_cannot_be_delivered_is_reported",),
    ),
]
