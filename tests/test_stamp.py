"""Where an id comes from on a kernel, or in a sandbox, that lacks a system call."""

from __future__ import annotations

import subprocess
import sys

WITHOUT_GETRANDOM = """
import errno, os

def getrandom(size, flags=0):
    raise OSError(errno.ENOSYS, "Function not implemented")

os.getrandom = getrandom
from whisperr._stamp import new_message_id
print(len({new_message_id() for _ in range(100)}), len(new_message_id()))
"""


def test_ids_are_made_where_the_kernel_has_no_getrandom() -> None:
    """The C library has it: that the function is there says nothing."""
    output = subprocess.check_output(
        [sys.executable, "-c", WITHOUT_GETRANDOM], text=True, timeout=60
    )
    assert output.split() == ["100", "32"]
