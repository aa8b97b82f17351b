"""What the demo prints."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.table import Table

if TYPE_CHECKING:
    from rich.console import Console

    from whisperr.demo.account import Account

LOG_LINES = 20


def process_table(account: Account, master: int) -> Table:
    """Return what each process tracked and what arrived from it."""
    table = Table(title="Processes", title_justify="left")
    table.add_column("process")
    for name in ("pid", "tracked", "delivered", "requests", "connections"):
        table.add_column(name, justify="right")
    for line in account.processes:
        table.add_row(
            "master" if line.pid == master else "worker",
            *(str(value) for value in line),
            style=None if line.tracked == line.delivered else "red",
        )
    return table


def ledger_table(account: Account, answered: int, seconds: float) -> Table:
    """Return the totals."""
    ledger, lines = account.ledger, account.processes
    values: list[tuple[str, object]] = [
        ("requests to the shop", answered),
        ("tracked", len(ledger.tracked)),
        ("delivered", len(ledger.tracked & ledger.arrived)),
        ("lost", len(ledger.lost)),
        ("unknown", len(ledger.unknown)),
        ("twice", len(ledger.twice)),
        ("resent", len(ledger.resent)),
        ("sent by another process", len(account.elsewhere)),
        ("processes", len(lines)),
        ("requests to the server", sum(line.requests for line in lines)),
        ("connections", sum(line.connections for line in lines)),
        ("seconds", f"{seconds:.1f}"),
    ]
    table = Table(title="Ledger", title_justify="left", show_header=False)
    table.add_column()
    table.add_column(justify="right")
    for name, value in values:
        table.add_row(name, str(value))
    return table


def print_log(console: Console, name: str, text: str) -> None:
    """Print the end of a log."""
    lines = text.splitlines()[-LOG_LINES:]
    console.print(f"The last {len(lines)} lines of the log of {name}:")
    for line in lines:
        console.print(f"  {line}", markup=False, highlight=False, soft_wrap=True)
