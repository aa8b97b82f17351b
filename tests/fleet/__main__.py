"""Simulate a fleet: `make fleet`, or `PYTHONPATH=tests python -m fleet --help`."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from fleet.document import table, write
from fleet.figures import LIVES


def main() -> int:
    arguments = _arguments()
    workers, seed = arguments.workers, arguments.seed
    lives = [live(workers, seed) for live in LIVES]
    summary = f"{workers} workers, seed {seed}; requests are counted in each second."
    print(summary, table(lives), sep="\n\n")
    print(f"\n{time.process_time():.0f} CPU seconds")
    if not all(life.holds() for life in lives):
        print(f"A bound does not hold. Again: make fleet WORKERS={workers} SEED={seed}")
        return 1
    if arguments.write:
        write(arguments.write, summary, lives)
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workers", type=int, default=10_000, help="how many processes")
    parser.add_argument("--seed", type=int, default=1, help="draws everything that is drawn")
    parser.add_argument("--write", type=Path, help="the folder of fleet.md and fleet.svg")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
