"""Products and orders."""

import uuid

from django.conf import settings
from django.db import models


class OutOfStockError(Exception):
    """Nothing is left of a product."""


class Product(models.Model):
    """What can be bought."""

    sku = models.SlugField(unique=True)
    cents = models.PositiveIntegerField()
    stock = models.PositiveIntegerField()

    def take_one(self) -> None:
        """Take one from the stock; raises `OutOfStockError`."""
        there = Product.objects.filter(pk=self.pk, stock__gt=0)
        if not there.update(stock=models.F("stock") - 1):
            raise OutOfStockError


class Order(models.Model):
    """A product that a customer bought."""

    number = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    customer = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE)
    product = models.ForeignKey(Product, on_delete=models.PROTECT)
    cents = models.PositiveIntegerField()
