"""One ingestion request, from its headers to its recorded answer."""

from __future__ import annotations

import logging
import re
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from starlette.responses import Response

from whisperr.server.answers import ErrorAnswer, ErrorDetail
from whisperr.server.delivery import Delivery
from whisperr.server.models import Window
from whisperr.server.parsing import NOTHING, MalformedError, Parsed
from whisperr.server.protocol import connection_of
from whisperr.server.store import Received

if TYPE_CHECKING:
    from collections.abc import Callable

    from fastapi import Request
    from pydantic import BaseModel

    from whisperr.server.faults import Fault
    from whisperr.server.service import Service

MAX_BODY = 4 * 1024 * 1024  # bytes

_STOCK_AGENT = re.compile(
    r"$|python-requests/|python-urllib|python-httpx/|Python/.* aiohttp/", re.I
)

log = logging.getLogger("whisperr.server")


class Endpoint(NamedTuple):
    """How one endpoint reads a body, and what it answers when it takes it."""

    parse: Callable[[bytes, Window, bool], Parsed]
    answer: Callable[[Parsed], BaseModel]


class Judged(NamedTuple):
    """The answer to a request and what of it is to be stored."""

    answer: Response
    parsed: Parsed = NOTHING


async def ingest(service: Service, request: Request, endpoint: Endpoint) -> Response:
    """Judge, record and answer one request, faults included."""
    connection = connection_of(request)
    number = await service.introduce(connection)
    fault = service.faults.take(key_of(request), request.url.path)
    body = None if fault and fault.action == "reset_before" else await _read(request)
    judged = _judge(service, request, endpoint, body)
    if fault:
        judged = _spoil(judged, fault)
    silent = connection.transport.is_closing() or (fault is not None and fault.silent)
    status = None if silent else judged.answer.status_code
    received = Received(
        key=key_of(request),
        path=request.url.path,
        connection=number,
        received_at=service.clock.now().isoformat(timespec="milliseconds"),
        user_agent=request.headers.get("user-agent", ""),
        status=status,
        body=None if body is None else body.decode(errors="replace"),
    )
    recorded = service.store.record(received, judged.parsed)
    log.info("%s %s %s", status or "---", received.path, _summary(judged.parsed, fault))
    written = partial(service.store.mark_answered, recorded)
    return Delivery(judged.answer, connection, written, fault)


def key_of(request: Request) -> str:
    """Return the API key that a request names, or an empty string."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    bearer = token.strip() if scheme.lower() == "bearer" else ""
    return request.headers.get("x-api-key", bearer)


def failure(status: int, code: str, message: str) -> Response:
    """Return an answer in the shape of the service's errors."""
    return _json(status, ErrorAnswer(error=ErrorDetail(code=code, message=message)))


async def _read(request: Request) -> bytes | None:
    """Return the body; None where it is too large, or the client left before its end."""
    if int(request.headers.get("content-length", "0")) > MAX_BODY:
        return None
    chunks, size = [], 0
    while True:
        message = await request.receive()
        if message["type"] == "http.disconnect":
            return None
        chunks.append(message.get("body", b""))
        size += len(chunks[-1])
        if size > MAX_BODY:
            return None
        if not message.get("more_body", False):
            return b"".join(chunks)


def _judge(service: Service, request: Request, endpoint: Endpoint, body: bytes | None) -> Judged:
    if _STOCK_AGENT.match(request.headers.get("user-agent", "")):
        return _refuse(403, "forbidden", "Name your SDK and its version in the User-Agent header.")
    key = key_of(request)
    if not service.accepts(key):
        return _refuse(401, "unauthorized", "Send a key of this server in the X-API-Key header.")
    if body is None and connection_of(request).transport.is_closing():
        return _refuse(408, "client_left", "The client left before its body was read.")
    if body is None:
        return _refuse(413, "too_large", f"Send at most {MAX_BODY} bytes in one request.")
    try:
        window = Window.around(service.clock.now())
        parsed = endpoint.parse(body, window, service.is_strict(key))
    except MalformedError as error:
        return _refuse(400, "invalid_request", str(error))
    return Judged(_json(202, endpoint.answer(parsed)), parsed)


def _refuse(status: int, code: str, message: str) -> Judged:
    return Judged(failure(status, code, message), Parsed([], problem=message))


def _spoil(judged: Judged, fault: Fault) -> Judged:
    """Return the answer that the fault wants, and what it wants to be stored."""
    answer = judged.answer
    if fault.action == "status":
        answer = _odd_answer(answer, fault)
    answer.headers.update(fault.headers())
    return Judged(answer, judged.parsed if fault.stores else NOTHING)


def _odd_answer(usual: Response, fault: Fault) -> Response:
    if fault.status in (204, 304):
        return Response(status_code=fault.status)
    if fault.body is not None:
        media_type = fault.content_type or "application/json"
        return Response(fault.body, fault.status, media_type=media_type)
    if fault.status < 300:
        return Response(usual.body, fault.status, media_type="application/json")
    return failure(fault.status, "fault", "This answer was asked for at /control/faults.")


def _json(status: int, content: BaseModel) -> Response:
    return Response(content.model_dump_json(), status, media_type="application/json")


def _summary(parsed: Parsed, fault: Fault | None) -> str:
    taken = f"{len(parsed.operations)} stored, {parsed.rejected} rejected"
    problem = f" ({parsed.problem})" if parsed.problem else ""
    return f"{taken}{problem}{f', fault {fault.action}' if fault else ''}"
