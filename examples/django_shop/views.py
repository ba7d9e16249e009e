"""Orders, made and shown."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

from django.conf import settings  # type: ignore[import-untyped]
from django.http import JsonResponse  # type: ignore[import-untyped]
from django.views.decorators.csrf import csrf_exempt  # type: ignore[import-untyped]
from django.views.decorators.http import require_POST  # type: ignore[import-untyped]

from chaoying_async import (
    ChaoyingError,
    GatewayError,
    RequestNotSentError,
    TradeType,
    WechatPreOrder,
    fen,
)
from django_shop.models import Order
from django_shop.payments import payments

MENU = {"coffee": fen("12.30"), "cake": fen("14.30")}


@csrf_exempt  # type: ignore[untyped-decorator]
@require_POST  # type: ignore[untyped-decorator]
async def order_something(request: Any) -> Any:
    """Make an order; the customer pays by the QR code of ``code_url``."""
    item = request.POST.get("item", "")
    if item not in MENU:
        return JsonResponse({"problem": "there is no such thing"}, status=404)
    # Committed before the gateway hears of it, so that no notification is early.
    order = await Order.objects.acreate(
        out_trade_no=uuid4().hex, mch_id=payments.mch_id, item=item, total_fee=MENU[item]
    )
    pre_order = WechatPreOrder(
        out_trade_no=order.out_trade_no,
        body=item,
        total_fee=MENU[item],
        trade_type=TradeType.NATIVE,
        product_id=item,
        notify_url=f"{settings.SHOP_URL}/notify",
    )
    try:
        made = (await payments.gateway.send(pre_order)).unwrap()
    except (RequestNotSentError, GatewayError):  # nobody can pay it
        await Order.objects.filter(pk=order.pk, status="OPEN").aupdate(status="REFUSED")
        return JsonResponse({"problem": "not possible now: please order again"}, status=502)
    except ChaoyingError:  # not clear: it stays open
        return JsonResponse({"problem": "no answer: please order again"}, status=504)
    told = {"out_trade_no": order.out_trade_no, "code_url": made.code_url}
    return JsonResponse(told, status=201)


async def show_order(request: Any, out_trade_no: str) -> Any:  # noqa: ARG001
    """How it stands."""
    order = await Order.objects.filter(pk=out_trade_no).afirst()
    if order is None:
        return JsonResponse({"problem": "no such order"}, status=404)
    return JsonResponse(
        {"status": order.status, "shipments": order.shipments, "total_fee": order.total_fee}
    )
