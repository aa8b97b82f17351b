"""The C stack of a process that hangs, read by gdb: below Python no faulthandler reaches."""

from __future__ import annotations

import shutil
import subprocess

GDB = shutil.which("gdb")
_SECONDS = 30.0


def stacks_of(pid: int) -> str:
    """The C stacks of all threads of a process; says why where they cannot be read."""
    if GDB is None:
        return "gdb is not installed"
    command = [GDB, "-p", str(pid), "-batch", "-nx", "-ex", "thread apply all bt 60"]
    try:
        read = subprocess.run(
            command, capture_output=True, text=True, timeout=_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        return f"gdb did not answer within {_SECONDS:.0f} s"
    return f"{read.stdout}\n{read.stderr}"


def is_over(stacks: str) -> bool:
    """Whether Python ended before, and the process hangs in OpenSSL's own cleanup."""
    return "OPENSSL_cleanup" in stacks
