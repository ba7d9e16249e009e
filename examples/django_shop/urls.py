"""The paths; the last one is for the gateway."""

from __future__ import annotations

from django.urls import path  # type: ignore[import-untyped]

from chaoying_async.web.django import notification_view
from django_shop.payments import payments
from django_shop.views import order_something, show_order

urlpatterns = [
    path("orders", order_something),
    path("orders/<str:out_trade_no>", show_order),
    path("notify", notification_view(payments.handler)),
]
