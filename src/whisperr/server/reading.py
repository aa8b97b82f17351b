"""The endpoints that show what arrived."""

from collections.abc import Callable
from typing import Annotated, Any

from fastapi import APIRouter, Query
from starlette.responses import JSONResponse, Response

from whisperr.server.service import Service
from whisperr.server.store import Row
from whisperr.server.users import user_state

Key = Annotated[str | None, Query(description="Only what arrived under this API key.")]
After = Annotated[int, Query(ge=0, description="Only rows behind this number.")]
Limit = Annotated[int, Query(ge=1, le=10_000, description="Rows at most.")]


# The handlers are coroutines, so they run between the requests that they tell about: what has been
# answered is always marked as answered.
def routes(service: Service) -> APIRouter:
    """Return the reading endpoints."""
    router = APIRouter(prefix="/stored")
    store = service.store

    @router.get("/counts")
    async def counts(key: Key = None) -> dict[str, int]:
        """Return how much arrived."""
        return store.counts(key)

    @router.get("/processes")
    async def processes(key: Key = None) -> Response:
        """Return what each sending process sent."""
        return JSONResponse({"rows": store.processes(key)})

    @router.get("/users/{external_user_id:path}/timeline")
    async def timeline(external_user_id: str, key: Key = None) -> Response:
        """Return what was applied to a user, in order, and the state it led to."""
        rows = store.timeline(key, external_user_id)
        return JSONResponse({"rows": rows, "state": user_state(rows)})

    _add_page(router, "/events", store.events, "seq")
    _add_page(router, "/arrivals", store.arrivals, "seq")
    _add_page(router, "/requests", store.requests, "id")
    return router


def _add_page(
    router: APIRouter,
    path: str,
    rows_of: Callable[[str | None, int, int], list[Row]],
    number: str,
) -> None:
    @router.get(path, name=rows_of.__name__, description=rows_of.__doc__)
    async def page(key: Key = None, after: After = 0, limit: Limit = 1000) -> Response:
        rows = rows_of(key, after, limit)
        more: Any = rows[-1][number] if len(rows) == limit else None
        return JSONResponse({"rows": rows, "next": more})
