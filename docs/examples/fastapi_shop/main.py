"""A shop on FastAPI: customers order and subscribe, and Whisperr hears of it.

It wants WHISPERR_API_KEY in its environment; under uvicorn, or under gunicorn:

    uvicorn main:app --workers 2
    gunicorn --worker-class uvicorn_worker.UvicornWorker --workers 2 main:app
"""

from typing import Annotated, Any

from fastapi import BackgroundTasks, Depends, FastAPI, HTTPException
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from pydantic import BaseModel

from whisperr import BillingEvent, BillingProperties, Whisperr
from whisperr.asgi import WhisperrMiddleware
from whisperr.fastapi import bound_to
from whisperr.request import RequestClient

#: In place of a database.
CUSTOMERS = {"token-of-ada": "ada", "token-of-grace": "grace", "token-of-alan": "alan"}
PRICES = {"tea": 4.5, "coffee": 6.0}

client = Whisperr()
app = FastAPI()
app.add_middleware(WhisperrMiddleware, client=client)  # delivers when the server shuts down


async def customer(
    credentials: Annotated[HTTPAuthorizationCredentials, Depends(HTTPBearer())],
) -> str:
    """Who sends the request, by a token; nobody else gets in."""
    name = CUSTOMERS.get(credentials.credentials)
    if name is None:
        raise HTTPException(401, "This token is not known.")
    return name


#: A parameter of this type is the client of the request, bound to the customer.
RequestWhisperr = Annotated[RequestClient[Any], Depends(bound_to(client, customer))]


class Order(BaseModel):
    """The client's own id of the order makes a second try the same order."""

    id: str
    product: str = "tea"


@app.get("/")
async def products() -> dict[str, float]:
    """Nothing is tracked here, so nobody asks who the customer is."""
    return PRICES


@app.post("/orders", status_code=201)
async def place_order(order: Order, whisperr: RequestWhisperr) -> Order:
    """Order a product. track() only queues, so it may be called on the event loop."""
    properties = {"order_id": order.id, "product": order.product}
    whisperr.track("order_placed", {**properties, "price": PRICES[order.product]})
    return order


@app.post("/orders/later", status_code=202)
async def order_later(order: Order, whisperr: RequestWhisperr, tasks: BackgroundTasks) -> Order:
    """The same after the answer, for the same customer."""
    tasks.add_task(whisperr.track, "order_placed", {"order_id": order.id})
    return order


@app.post("/subscription", status_code=201)
def subscribe(order: Order, whisperr: RequestWhisperr) -> Order:
    """Begin a subscription, in a thread of FastAPI's; a billing event has checked properties."""
    whisperr.track(
        BillingEvent.MEMBERSHIP_STARTED,
        BillingProperties(
            {"order_id": order.id},
            plan_id="tea_monthly",
            price=19.0,
            currency="EUR",
            plan_period="P1M",
        ),
    )
    return order
