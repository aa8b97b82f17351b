"""A shop on Flask: customers log in, order and subscribe, and Whisperr hears of it.

It wants SHOP_SECRET_KEY and WHISPERR_API_KEY in its environment; under uWSGI:

    uwsgi --http-socket :8000 --master --processes 2 --die-on-term --module "app:create_app()"
"""

from __future__ import annotations

from dataclasses import dataclass

from flask import Blueprint, Flask, abort, request
from flask_login import (  # type: ignore[import-untyped]
    LoginManager,
    current_user,
    login_user,
    logout_user,
)
from werkzeug.security import check_password_hash, generate_password_hash

from whisperr import BillingEvent, BillingProperties
from whisperr.flask import WhisperrFlask, current_whisperr


@dataclass(frozen=True)
class Customer:
    """Somebody who can log in, as Flask-Login asks for it."""

    name: str
    password_hash: str

    is_authenticated = True
    is_active = True
    is_anonymous = False

    def get_id(self) -> str:
        """What the session keeps, and what Whisperr knows the customer by."""
        return self.name


#: In place of a database.
CUSTOMERS = {
    name: Customer(name, generate_password_hash(f"{name}'s password"))
    for name in ("ada", "grace", "alan")
}
PRICES = {"tea": 4.5, "coffee": 6.0}

# Made without an application, so that any number of them can be.
whisperr = WhisperrFlask()
login_manager = LoginManager()
login_manager.user_loader(CUSTOMERS.get)
shop = Blueprint("shop", __name__)


def create_app() -> Flask:
    """Make the application; its configuration is SHOP_... in the environment."""
    app = Flask(__name__)
    app.config.from_prefixed_env("SHOP")
    whisperr.init_app(app)  # WHISPERR_API_KEY from app.config, else from the environment
    login_manager.init_app(app)
    app.register_blueprint(shop)
    return app


@shop.get("/")
def products() -> dict[str, float]:
    """Nothing is tracked here, so nobody asks who the customer is."""
    return PRICES


@shop.post("/login")
def log_in() -> dict[str, str]:
    """Log in with a name and a password."""
    given = request.get_json()
    customer = CUSTOMERS.get(given["name"])
    if customer is None or not check_password_hash(customer.password_hash, given["password"]):
        abort(403)
    login_user(customer)
    current_whisperr.track("logged_in")
    return {"name": customer.name}


@shop.post("/logout")
def log_out() -> dict[str, str]:
    """Track first: afterwards the customer is an anonymous one."""
    current_whisperr.track("logged_out")
    logout_user()
    return {}


@shop.post("/orders")
def place_order() -> tuple[dict[str, str], int]:
    """Order a product. The client's own id of the order makes a second try the same order."""
    if not current_user.is_authenticated:
        abort(401)
    order = request.get_json()
    properties = {"order_id": order["id"], "product": order["product"]}
    current_whisperr.track("order_placed", {**properties, "price": PRICES[order["product"]]})
    return {"id": order["id"]}, 201


@shop.post("/subscription")
def subscribe() -> tuple[dict[str, str], int]:
    """Begin a subscription: a billing event has checked properties."""
    if not current_user.is_authenticated:
        abort(401)
    order_id = request.get_json()["id"]
    current_whisperr.track(
        BillingEvent.MEMBERSHIP_STARTED,
        BillingProperties(
            {"order_id": order_id},
            plan_id="tea_monthly",
            price=19.0,
            currency="EUR",
            plan_period="P1M",
        ),
    )
    return {"id": order_id}, 201
