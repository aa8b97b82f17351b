"""The script of test_imports.py, for a fresh interpreter: KIND URL.

Prints, as JSON, what was imported since the client was constructed.
"""

import atexit
import sys

import whisperr

KIND, URL = sys.argv[1:]
reports: list[str] = []


def on_error(error: whisperr.WhisperrError) -> None:
    """Use the report."""
    reports.append(f"{error.type} {error}")


client = whisperr.Whisperr(
    "wrk_test",
    base_url=URL,
    on_error=on_error,
    max_retries=0,
    request_timeout=5,
    flush_interval=3600,
    debug=KIND == "debug",
)
before = set(sys.modules)


def tell() -> None:
    """Print it, without the json module, which would be imported by that."""
    late = sorted(set(sys.modules) - before)
    sys.stdout.write("[" + ", ".join(f'"{name}"' for name in late) + "]\n")


client.track("user", "something_happened", {"text": "é"})
client.identify("user", email="someone@example.com")
if KIND == "exit":
    atexit._run_exitfuncs()
else:
    client.flush(5)
    client.track("", "Bad Name")
    client.flush(5)
    client.shutdown()
tell()
