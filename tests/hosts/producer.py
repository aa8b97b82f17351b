"""Gives tasks to a host, in a process of its own: `python -m hosts.producer PORT MODULE`.

It serves HTTP, as a web application does that leaves work to a queue: each query of
`/enqueue?name=work&argument=50&times=4` has the module's `enqueue(name, argument)` called so often.
"""

from __future__ import annotations

import importlib
import sys
from typing import TYPE_CHECKING
from urllib.parse import parse_qs
from wsgiref.simple_server import make_server

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any


def serve(port: int, enqueue: Callable[[str, str], None]) -> None:
    """Serve until the end of the test kills it."""

    def application(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        fields = parse_qs(environ["QUERY_STRING"], keep_blank_values=True)
        query = {name: values[0] for name, values in fields.items()}
        for _ in range(int(query.get("times", "0"))):
            enqueue(query["name"], query["argument"])
        start_response("200 OK", [])
        return []

    make_server("127.0.0.1", port, application).serve_forever()


if __name__ == "__main__":
    serve(int(sys.argv[1]), importlib.import_module(sys.argv[2]).enqueue)
