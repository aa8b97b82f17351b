"""What a row of the table is: a host in one mode, and the endings that it knows."""

from __future__ import annotations

import signal
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from hosts.environments import FURTHER_VERSIONS, VERSIONS

if TYPE_CHECKING:
    from hosts.laboratory import Laboratory

NORMAL, RECYCLE, STOP, RELOAD, KILLED = "normal", "recycle", "stop", "reload", "killed"
#: The columns of the table, with their titles.
COLUMNS = {
    NORMAL: "normal operation",
    RECYCLE: "recycle",
    STOP: "graceful stop",
    RELOAD: "reload",
    KILLED: "killed by the host",
}
#: Brings an ending about and returns the processes that it ends, of those that tracked.
End = Callable[["Laboratory"], Collection[int]]


@dataclass(frozen=True)
class Ending:
    """One way in which processes of a host end.

    Attributes:
        end: brings it about; waits for as much as it takes to know who ends.
        column: where it stands in the table; several endings may share a column.
        bound: where no hook runs: a sentence that says what can be lost.
        most: where no hook runs: how many operations at most, given the processes that ended;
            None is everything that they tracked.
        ends_host: whether the whole host ends, so that nothing is left to stop.
        delay: seconds for which the exchange of the state `held` is held back.
        states: in which it is tested.
        hurry: what the host prints when it did not let a worker's hooks finish, where it counts
            seconds whatever the machine does meanwhile; the cell is then tried again, twice.
    """

    end: End
    column: str
    bound: str | None = None
    most: Callable[[Laboratory, Collection[int]], int] | None = None
    ends_host: bool = False
    delay: float = 1.0
    states: tuple[str, ...] = ("queued", "held")
    hurry: str | None = None


class Row(ABC):
    """A host in one mode.

    Attributes:
        name: as the table has it, such as "gunicorn sync, preload".
        host: the family, such as "gunicorn".
        endings: by name; the name of the main one of a column is the column.
        missing: columns that this host does not have, each with the reason.
        boot: how many operations the application tracks at import, in one process for all.
        scheme: of the local server: http or https.
        versions: of Python that the host has this mode on; None is all.
        usual: the (ending, state) that `make test` runs and every Python has; None for most rows.
    """

    name: str
    host: str
    endings: Mapping[str, Ending]
    missing: Mapping[str, str] = {}
    boot: int = 0
    scheme: str = "http"
    versions: Collection[str] | None = None
    usual: tuple[str, str] | None = None

    @property
    def slug(self) -> str:
        """The name for ids of tests."""
        return "-".join(self.name.replace(",", " ").replace("(", " ").replace(")", " ").split())

    @abstractmethod
    def start(self, lab: Laboratory) -> None:
        """Start the host and wait until it takes work; `lab.ending` says what is to come."""

    @abstractmethod
    def work(self, lab: Laboratory, count: int) -> None:
        """Have the host's workers track `count` operations; return once they have.

        Called several times, with a multiple of 100.
        """

    def stop(self, lab: Laboratory) -> None:
        """Ask the whole host for a graceful stop; need not wait."""
        lab.signal(signal.SIGTERM)


@dataclass(frozen=True)
class Cell:
    """One test: a row, an ending, a state, a Python; `control` is without our hooks."""

    row: Row = field(repr=False)
    ending: str
    state: str
    version: str
    control: bool = False

    @property
    def id(self) -> str:
        """Such as gunicorn-sync-preload/reload/queued/3.13."""
        parts = [self.row.slug, self.ending.replace(" ", "-"), self.state, self.version]
        return "/".join(parts + ["control"] * self.control)

    @property
    def is_usual(self) -> bool:
        """Whether `make test` runs it."""
        return not self.control and (self.ending, self.state) == self.row.usual


def _controlled(row: Row) -> str:
    """The Python that the row's controls run on."""
    return next(version for version in VERSIONS if row.versions is None or version in row.versions)


def cells_of(row: Row, version: str) -> list[Cell]:
    """Every cell of a row on one Python."""
    if row.versions is not None and version not in row.versions:
        return []
    if version in FURTHER_VERSIONS:
        return [] if row.usual is None else [Cell(row, *row.usual, version)]
    cells = [Cell(row, NORMAL, "running", version)] if NORMAL not in row.missing else []
    for name, ending in row.endings.items():
        cells += [Cell(row, name, state, version) for state in ending.states]
        # The control shows that the cell can fail: once is enough.
        if ending.bound is None and "queued" in ending.states and version == _controlled(row):
            cells.append(Cell(row, name, "queued", version, control=True))
    return cells
