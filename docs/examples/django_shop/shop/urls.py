"""Where everything is."""

from django.contrib.auth.views import LoginView
from django.urls import path
from orders import views

urlpatterns = [
    path("", views.shelf, name="shelf"),
    path("login/", LoginView.as_view(), name="login"),
    path("products/<slug:sku>/", views.product, name="product"),
    path("products/<slug:sku>/checkout/", views.checkout, name="checkout"),
    path("account/email/", views.change_email, name="email"),
]
