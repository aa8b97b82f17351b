"""The shapes of forks. Each makes some, beside threads that track all the time."""

from __future__ import annotations

import multiprocessing
import os
import select
import signal
import subprocess
import threading
import time
from concurrent.futures import ProcessPoolExecutor
from typing import TYPE_CHECKING, Any, NoReturn

import lab
from torture import lives
from torture.lives import ABRUPT, LIMIT, UNWINDING, Child, Process

if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing.process import BaseProcess

    from whisperr import Whisperr

_FORK = multiprocessing.get_context("fork")


# --- os.fork --------------------------------------------------------------------------------


def plain(here: Process) -> None:
    here.fork(here.draw("plain"))


def silent(here: Process) -> None:
    """A child that never uses the clients."""
    here.fork(here.draw("silent"))


def family(here: Process) -> None:
    """Three generations."""
    here.fork(here.draw("family"))


def out_of_a_thread(here: Process) -> None:
    """The thread is the child's only one; at its end no exit hook would run."""
    child = here.draw("thread", ABRUPT)
    thread = threading.Thread(target=here.fork, args=(child,), daemon=True)
    thread.start()
    thread.join()


def beside_a_flush(here: Process) -> None:
    """Another thread is inside flush()."""
    child, client = here.draw("beside_a_flush"), _client(here)
    pause = here.random.uniform(0, 0.002)
    for _ in range(here.random.randint(1, 5)):
        lab.track(client)
    flushing = threading.Event()

    def work() -> None:
        flushing.set()
        lives.flush(client)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    flushing.wait()
    time.sleep(pause)
    here.fork(child)
    thread.join()


def daemon(here: Process) -> None:
    """A double fork: the one between ends by os._exit at once."""
    child = here.draw("between", ABRUPT)
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reader)
        _leave_a_daemon(child, writer)
    os.close(writer)
    here.keep(pid, child)
    here.wait_for_children()
    _wait_for_daemon(reader, child)
    here.forks += 1


def _leave_a_daemon(child: Child, writer: int) -> NoReturn:
    lives.note_born(child.path, child.shape)
    here = Process(child)
    with lives.delivering():
        if here.random.random() < 0.5:
            lab.track(_client(here))
        if os.fork() == 0:
            os.write(writer, b"%d" % os.getpid())
            lives.live_and_end(here.draw("daemon"))
        if here.random.random() < 0.5:
            lab.track(_client(here))
    os._exit(child.status)


def _wait_for_daemon(reader: int, child: Child) -> None:
    """It is gone when nobody can write any more."""
    with os.fdopen(reader, "rb", buffering=0) as said:
        pid = said.read(20)
        if not select.select([said], [], [], LIMIT)[0]:
            lives.note_hung(int(pid), child)


# --- Forks out of callbacks -----------------------------------------------------------------


def out_of_a_signal_handler(here: Process) -> None:
    """The handler interrupts track() or flush() anywhere, and the child ends there."""
    child, client = here.draw("signal", UNWINDING), _client(here)
    use: Callable[[Whisperr], object] = here.random.choice((lab.track, lives.flush))
    done: list[bool] = []

    def handle(*_: object) -> None:
        here.fork(child)
        done.append(True)

    signal.signal(signal.SIGALRM, handle)
    signal.setitimer(signal.ITIMER_REAL, here.random.uniform(0.0001, 0.003))
    lives.until(here, lambda: bool(done), lambda: use(client))


def back_into_a_flush(here: Process) -> None:
    """The child of a signal handler returns from it, and from the flush() of its parent."""
    child, client = here.draw("back", UNWINDING), _client(here)
    for _ in range(here.random.randint(1, 5)):
        lab.track(client)
    done: list[bool] = []

    def handle(*_: object) -> None:
        pid = os.fork()
        done.append(True)
        if pid:
            here.keep(pid, child)
            return
        lives.note_born(child.path, child.shape)
        lives.live(child)

    signal.signal(signal.SIGALRM, handle)
    signal.setitimer(signal.ITIMER_REAL, here.random.uniform(0.0001, 0.003))
    while not done:
        lives.flush(client)
    if os.getpid() != here.pid:
        lives.end(child)


def out_of_on_error(here: Process) -> None:
    """On the sender's thread, or on this one where flush() makes the report."""
    child, client = here.draw("on_error", UNWINDING), _client(here)
    act: Callable[[], object] = here.random.choice(
        (lambda: client.flush(LIMIT), lambda: time.sleep(0.001))
    )
    done: list[bool] = []

    def fork() -> None:
        here.fork(child)
        done.append(True)

    lives.in_on_error = fork
    client.track("", "refused")
    lives.until(here, lambda: bool(done), act)


def out_of_before_send(here: Process) -> None:
    """In the middle of a track(): its operation is the parent's."""
    child, client = here.draw("before_send", UNWINDING), lives.clients[0]
    lives.in_before_send = (threading.get_ident(), lambda: here.fork(child))
    lab.track(client)


# --- multiprocessing ------------------------------------------------------------------------


def process(here: Process) -> None:
    _in_processes(here, here.random.randint(1, 3), _FORK, "process", lives.live_and_end)


def spawn(here: Process) -> None:
    """A new interpreter, which is given the clients."""
    _spawned(here, "spawn")


def forkserver(here: Process) -> None:
    """A fork of a server that never saw a client; a process of it is given the clients."""
    _spawned(here, "forkserver")


def _spawned(here: Process, method: str) -> None:
    context = multiprocessing.get_context(method)
    _in_processes(here, 1, context, method, _live_spawned, lives.seed, lives.clients)


def _live_spawned(seed: int, clients: list[Whisperr], child: Child) -> NoReturn:
    lives.seed, lives.clients = seed, clients
    lives.live_and_end(child)


def _in_processes(
    here: Process, count: int, context: Any, shape: str, target: Callable[..., object], *args: Any
) -> None:
    children = [here.draw(shape) for _ in range(count)]
    processes = [context.Process(target=target, args=(*args, child)) for child in children]
    for started in processes:
        started.start()
    for started, child in zip(processes, children, strict=True):
        _join(started, child)
    here.forks += count


def _join(started: BaseProcess, child: Child) -> None:
    started.join(LIMIT * lives.GENERATIONS)
    pid = started.pid or 0
    if started.exitcode is None:
        lives.note_hung(pid, child)
        started.kill()
        started.join()
    else:
        lives.note_status(pid, child, started.exitcode)


def pool(here: Process) -> None:
    """A Pool, closed and joined; its workers may be replaced by its own thread."""
    tasks = _tasks(here, "pool")
    most = here.random.choice((None, 1, 2))
    workers = _FORK.Pool(2, lives.note_born, ("in a pool", "pool"), maxtasksperchild=most)
    workers.map(lives.live, tasks, chunksize=1)
    workers.close()
    workers.join()


def executor(here: Process) -> None:
    tasks = _tasks(here, "executor")
    with ProcessPoolExecutor(2, _FORK, lives.note_born, ("in an executor", "executor")) as workers:
        list(workers.map(lives.live, tasks))


def _tasks(here: Process, shape: str) -> list[Child]:
    """Children of a worker end by os._exit: its own frames would take what they raise."""
    here.forks += 2
    return [here.draw(shape, ABRUPT) for _ in range(here.random.randint(2, 6))]


# --- Other programs -------------------------------------------------------------------------


def preexec(here: Process) -> None:
    """Python code of the application's runs in the child, then another program starts there."""
    child = here.draw("preexec", ABRUPT)

    def prepare() -> None:
        lives.note_born(child.path, child.shape)
        with lives.delivering():
            lives.live(child)

    program = subprocess.Popen(["/bin/sh", "-c", f"exit {child.status}"], preexec_fn=prepare)
    try:
        lives.note_status(program.pid, child, program.wait(LIMIT * lives.GENERATIONS))
    except subprocess.TimeoutExpired:
        lives.note_hung(program.pid, child)
        program.kill()
    here.forks += 1


def _client(here: Process) -> Whisperr:
    return here.random.choice(lives.clients)


#: Each shape and how often it comes; what is cheap makes up the mass.
SHAPES: dict[Callable[[Process], None], float] = {
    plain: 100,
    silent: 10,
    family: 3,
    out_of_a_thread: 5,
    beside_a_flush: 5,
    daemon: 3,
    out_of_a_signal_handler: 5,
    back_into_a_flush: 5,
    out_of_on_error: 5,
    out_of_before_send: 5,
    process: 3,
    preexec: 2,
    pool: 0.5,
    executor: 0.5,
    spawn: 0.02,
    forkserver: 0.1,
}
