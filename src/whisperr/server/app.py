"""The FastAPI application: three ingestion endpoints, and those for whoever runs the server."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import APIRouter, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic.json_schema import models_json_schema
from starlette.exceptions import HTTPException
from starlette.responses import Response

from whisperr.server import control, reading
from whisperr.server.answers import BatchAnswer, ErrorAnswer, IdentifyAnswer, TrackAnswer
from whisperr.server.ingestion import Endpoint, failure, ingest
from whisperr.server.models import Event, EventBatch, Identify
from whisperr.server.parsing import Parsed, parse_batch, parse_identify, parse_track
from whisperr.server.service import Service

_REFUSALS: dict[int | str, dict[str, Any]] = {
    400: {"model": ErrorAnswer, "description": "The body breaks the contract; names the field."},
    401: {"model": ErrorAnswer, "description": "The key is missing or not accepted."},
    403: {"model": ErrorAnswer, "description": "The User-Agent is a stock client's."},
    413: {"model": ErrorAnswer, "description": "The body is larger than 4 MiB."},
}
_SCHEMAS = "#/components/schemas/"


def create_app(service: Service) -> FastAPI:
    """Return the application around the parts of a server; it closes the store at its end."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        service.store.close()

    app = FastAPI(title="Whisperr ingestion, local", version="1", lifespan=lifespan)
    app.include_router(ingestion_routes(service), tags=["ingestion"])
    app.include_router(control.routes(service), tags=["control"])
    app.include_router(reading.routes(service), tags=["stored"])
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(RequestValidationError, _invalid_error)
    _document_bodies(app)
    return app


def ingestion_routes(service: Service) -> APIRouter:
    """Return the three endpoints of the contract."""
    routes = APIRouter()
    batch = Endpoint(parse_batch, _batch_answer)
    track = Endpoint(parse_track, lambda _: TrackAnswer())
    identify = Endpoint(parse_identify, lambda _: IdentifyAnswer())

    @routes.post("/v1/events/batch", **_documented(EventBatch, BatchAnswer))
    async def events_batch(request: Request) -> Response:
        """Take 1 to 500 events; malformed ones are counted as rejected."""
        return await ingest(service, request, batch)

    @routes.post("/v1/events/track", **_documented(Event, TrackAnswer))
    async def events_track(request: Request) -> Response:
        """Take one event."""
        return await ingest(service, request, track)

    @routes.post("/v1/identify", **_documented(Identify, IdentifyAnswer))
    async def identify_user(request: Request) -> Response:
        """Take the traits and channels of a user."""
        return await ingest(service, request, identify)

    return routes


def _batch_answer(parsed: Parsed) -> BatchAnswer:
    return BatchAnswer(accepted=len(parsed.operations), rejected=parsed.rejected)


def _documented(body: type, answer: type) -> dict[str, Any]:
    # The bodies are read raw, for speed; so FastAPI has to be told what is in them.
    schema = {"$ref": _SCHEMAS + body.__name__}
    content = {"application/json": {"schema": schema}}
    return {
        "status_code": 202,
        "responses": {202: {"model": answer}, **_REFUSALS},
        "openapi_extra": {"requestBody": {"required": True, "content": content}},
    }


def _document_bodies(app: FastAPI) -> None:
    generate = app.openapi

    def openapi() -> dict[str, Any]:
        page = generate()
        _, schemas = models_json_schema(
            [(EventBatch, "validation"), (Identify, "validation")],
            ref_template=_SCHEMAS + "{model}",
        )
        page["components"]["schemas"].update(schemas["$defs"])
        return page

    app.openapi = openapi  # type: ignore[method-assign] # FastAPI's documented way


async def _http_error(request: Request, error: Exception) -> Response:
    del request
    assert isinstance(error, HTTPException)  # noqa: S101 # registered for these alone
    answer = failure(error.status_code, "http_error", str(error.detail))
    answer.headers.update(error.headers or {})
    return answer


async def _invalid_error(request: Request, error: Exception) -> Response:
    del request
    assert isinstance(error, RequestValidationError)  # noqa: S101 # registered for these alone
    detail = error.errors()[0]
    place = ".".join(str(part) for part in detail["loc"])
    return failure(400, "invalid_request", f"{place}: {detail['msg']}")
