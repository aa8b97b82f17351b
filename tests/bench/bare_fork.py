"""Seconds from before a fork to its return in the child: `bare_fork.py [MODULE …]`.

Nothing but these modules is imported, since a child runs the fork hooks of what is.
"""

import os
import sys
import time

_FORKS = 60


def main() -> None:
    """See the module; prints the median."""
    for module in sys.argv[1:]:
        __import__(module)
    took = sorted(_fork() for _ in range(_FORKS))
    sys.stdout.write(f"{took[_FORKS // 2]}\n")


def _fork() -> float:
    ours, theirs = os.pipe()
    began = time.perf_counter()
    pid = os.fork()
    if not pid:
        os.write(theirs, str(time.perf_counter() - began).encode())
        os._exit(0)
    os.close(theirs)
    seconds = float(os.read(ours, 100))
    os.close(ours)
    os.waitpid(pid, 0)
    return seconds


if __name__ == "__main__":
    main()
