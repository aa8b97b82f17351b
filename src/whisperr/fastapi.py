"""Dependencies for FastAPI: the client of the request, bound to its user."""

# No `from __future__ import annotations`: FastAPI reads those of `bound` while the program runs.

from collections.abc import AsyncIterator, Callable
from typing import Annotated, Any

from fastapi import Depends
from fastapi.requests import HTTPConnection

from whisperr import Whisperr
from whisperr.request import RequestClient, Resolver, current


async def request_client(connection: HTTPConnection) -> RequestClient[Any]:
    """A dependency: the client that `whisperr.asgi.WhisperrMiddleware` gave the request.

    Raises:
        RuntimeError: where that middleware is not installed, or has no client.
    """
    client: RequestClient[Any] | None = connection.scope.get("whisperr")
    if client is None:
        raise RuntimeError(
            "The request has no client: app.add_middleware(WhisperrMiddleware, client=client), "
            "with client= in it."
        )
    return client


#: The type of a parameter: the client of the request, which the middleware bound to its user.
RequestWhisperr = Annotated[RequestClient[Any], Depends(request_client)]


def bound_to(
    client: Whisperr, get_user_id: Callable[..., Any]
) -> Callable[..., AsyncIterator[RequestClient[Any]]]:
    """Make a dependency: the client of the request, for the user that another one finds.

    Name it once, as ``RequestWhisperr = Annotated[RequestClient[Any], Depends(bound_to(...))]``.
    While the request is served it is what `whisperr.request.current_request` returns, too. The
    middleware is needed for nothing but the delivery at the shutdown.

    Args:
        client: what delivers.
        get_user_id: a dependency of the application's, sync or async, with any dependencies of
            its own. Returns the user's id, or None for an anonymous user; what it raises, such
            as an HTTPException, is the answer to the request. FastAPI runs it once in a request.
    """

    async def bound(
        user_id: Annotated[Any, Depends(get_user_id)],
    ) -> AsyncIterator[RequestClient[Any]]:
        request = RequestClient(client, _GIVEN, user_id)
        token = current.set(request)
        try:
            yield request
        finally:
            current.reset(token)

    return bound


def _as_it_is(user_id: Any) -> Any:
    return user_id


_GIVEN: Resolver[Any] = Resolver(_as_it_is)
