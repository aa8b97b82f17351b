"""The pages of the shop."""

from django.contrib.auth.decorators import login_required
from django.contrib.auth.models import User
from django.db import transaction
from django.http import Http404, HttpResponse, JsonResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_POST

from orders.models import Order, OutOfStockError, Product
from whisperr.django import WhisperrRequest


class CustomerRequest(WhisperrRequest):
    """What `login_required` lets through; for type checkers."""

    user: User


def shelf(request: WhisperrRequest) -> HttpResponse:
    """All products. Nothing is reported, so nothing is looked up but the products."""
    return render(request, "orders/shelf.html", {"products": Product.objects.all()})


async def product(request: WhisperrRequest, sku: str) -> HttpResponse:
    """One product. In async code `atrack` awaits the user; an anonymous one is not reported."""
    try:
        shown = await Product.objects.aget(sku=sku)
    except Product.DoesNotExist:
        raise Http404 from None
    await request.whisperr.atrack("product_viewed", {"sku": sku})
    return JsonResponse({"sku": sku, "cents": shown.cents, "stock": shown.stock})


@login_required
@require_POST
def checkout(request: CustomerRequest, sku: str) -> HttpResponse:
    """Buy a product. The order is reported if, and only if, it is committed."""
    bought = get_object_or_404(Product, sku=sku)
    try:
        with transaction.atomic():
            order = Order.objects.create(customer=request.user, product=bought, cents=bought.cents)
            request.whisperr.track(
                "order_placed",
                {"order": order.number, "sku": sku, "cents": order.cents},
                on_commit=True,
            )
            bought.take_one()
    except OutOfStockError:
        request.whisperr.track("order_failed", {"sku": sku, "reason": "out_of_stock"})
        return JsonResponse({"error": "out_of_stock"}, status=409)
    return JsonResponse({"order": order.number}, status=201)


@login_required
@require_POST
def change_email(request: CustomerRequest) -> HttpResponse:
    """Change the user's address, and say so: identify on change, not on every request."""
    user = request.user
    user.email = request.POST["email"]
    user.save(update_fields=["email"])
    request.whisperr.identify(email=user.email)
    return redirect("shelf")
