"""The service's own JSON Schemas, where WHISPERR_SPEC_PATH points at its wire.json."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jsonschema_rs

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from harness import Row

SPEC_VARIABLE = "WHISPERR_SPEC_PATH"


class WireSchema:
    """Judges the bodies of requests by the schemas beside `wire.json`."""

    def __init__(self, wire: Path) -> None:
        resources = [_schema(wire, name) for name in ("wire.schema.json", "push.schema.json")]
        registry = jsonschema_rs.Registry([(each["$id"], each) for each in resources])
        base = resources[0]["$id"]
        self._event, self._identify = (
            jsonschema_rs.validator_for({"$ref": f"{base}#/$defs/{name}"}, registry=registry)
            for name in ("event", "identify_body")
        )

    @classmethod
    def from_environment(cls) -> WireSchema | None:
        """Return the schemas, None where WHISPERR_SPEC_PATH is not set."""
        path = os.environ.get(SPEC_VARIABLE)
        return cls(Path(path)) if path else None

    def violations(self, requests: Iterable[Row]) -> Iterator[str]:
        """Return one line for each operation that breaks the schemas."""
        for request in requests:
            if request["body"] is None:
                continue  # it was not read to its end
            for validator, value in self._operations(request["path"], request["body"]):
                for error in validator.iter_errors(value):
                    yield f"{request['path']}, request {request['id']}: {error.message}"

    def _operations(self, path: str, text: str) -> list[tuple[Any, Any]]:
        body = json.loads(text)
        if path == "/v1/identify":
            return [(self._identify, body)]
        events = body["events"] if path == "/v1/events/batch" else [body]
        return [(self._event, event) for event in events]


def _schema(wire: Path, name: str) -> Any:
    text = (wire.parent / "schemas" / name).read_text(encoding="utf-8")
    return json.loads(text)
