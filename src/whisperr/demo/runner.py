"""The demo from its start to its verdict."""

from __future__ import annotations

import importlib.util
import os
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

import requests
from rich.console import Console
from rich.progress import Progress

from whisperr.demo import DemoError, Settings, journal, report
from whisperr.demo.account import Account
from whisperr.demo.drive import Visitors, drive
from whisperr.demo.host import Gunicorn
from whisperr.demo.processes import start_server

_PAGE = 5000


def run_demo(settings: Settings) -> int:
    """Run the demo and return its exit status."""
    console, errors = Console(), Console(stderr=True)
    try:
        _check_host()
        problem = _run_in_folder(settings, console, errors)
    except DemoError as error:
        errors.print(str(error), markup=False, highlight=False, soft_wrap=True)
        return error.status
    if problem:
        errors.print(problem, markup=False, highlight=False, soft_wrap=True)
        return 1
    console.print("Everything that was tracked arrived exactly once.")
    return 0


def _check_host() -> None:
    if not hasattr(os, "fork"):
        raise DemoError("gunicorn runs on Linux and macOS alone; run the demo there.", status=2)
    if importlib.util.find_spec("gunicorn") is None:
        raise DemoError('The demo needs gunicorn: pip install "whisperr[demo]"', status=2)


def _run_in_folder(settings: Settings, console: Console, errors: Console) -> str | None:
    folder = Path(tempfile.mkdtemp(prefix="whisperr-demo-"))
    keep = settings.keep
    try:
        problem = _run(settings, folder, console, errors)
        keep = keep or problem is not None  # the evidence
    finally:
        if keep:
            console.print(f"The database, the journal and the logs are in {folder}", soft_wrap=True)
        else:
            shutil.rmtree(folder, ignore_errors=True)
    return problem


def _run(settings: Settings, folder: Path, console: Console, errors: Console) -> str | None:
    """Return what is wrong with the ledger, None where it balances."""
    started = time.monotonic()
    notes = folder / "journal.txt"
    with start_server(folder, folder / "whisperr.sqlite") as server:
        url = server.url("listening on")
        client = {
            "WHISPERR_API_KEY": "wrk_demo",
            "WHISPERR_BASE_URL": url,
            "WHISPERR_DEMO_JOURNAL": str(notes),
        }
        with Gunicorn(folder, settings.shop, settings.workers, client) as gunicorn:
            try:
                answered = _visit(settings, gunicorn, console)
                gunicorn.stop()
            except DemoError:
                report.print_log(errors, gunicorn.name, gunicorn.text())
                raise
        entries = journal.read(notes)
        arrivals, senders = _arrivals(url), _get(url, "/stored/processes")["rows"]
    account = Account.of(entries, arrivals, senders, gunicorn.workers().not_graceful)
    console.print(report.process_table(account, gunicorn.pid))
    console.print(report.ledger_table(account, answered, time.monotonic() - started))
    problem = account.problem()
    if problem:
        report.print_log(errors, gunicorn.name, gunicorn.text())
    return problem


def _visit(settings: Settings, gunicorn: Gunicorn, console: Console) -> int:
    """Drive the shop; return how many requests it answered."""
    url = gunicorn.url("Listening at:")
    console.print(
        f"gunicorn --preload with {settings.workers} sync workers at {url}: {settings.requests} "
        f"requests over {settings.connections} connections, SIGHUP in the middle, SIGTERM at "
        "the end."
    )
    with Progress(console=console) as bar, Visitors(url, settings.connections) as visitors:
        task = bar.add_task("requests", total=settings.requests)
        drive(
            gunicorn,
            visitors,
            settings.requests,
            lambda done: bar.update(task, completed=min(done, settings.requests)),
        )
        return len(visitors.answered_by)


def _arrivals(url: str) -> list[Any]:
    """Return every arrival, in order."""
    rows: list[Any] = []
    after: int | None = 0
    while after is not None:
        page = _get(url, "/stored/arrivals", after=after, limit=_PAGE)
        rows += page["rows"]
        after = page["next"]
    return rows


def _get(url: str, path: str, **params: int) -> Any:
    with requests.Session() as session:
        session.trust_env = False  # no proxy of the user's
        answer = session.get(url + path, params=params, timeout=30)
        answer.raise_for_status()
        return answer.json()
