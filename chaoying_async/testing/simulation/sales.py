"""The customers of the simulated shop: who buys what, and how their payment goes."""

from __future__ import annotations

import random
from datetime import datetime, timedelta

import attrs

from chaoying_async.sansio.api.barcode import Pay
from chaoying_async.sansio.api.preorder import WechatPreOrder
from chaoying_async.sansio.enums import PayType, TradeType
from chaoying_async.testing.simulation.corner_shop import Return
from chaoying_async.testing.simulation.weather import Weather

#: Where notifications go.
NOTIFY_URL = "https://shop.example/notify"
#: How long a code can be paid.
_CODE_LASTS = timedelta(minutes=4)
#: Seconds within which all customers come.
COMING = 40.0

#: The sandbox's scenarios (by amount) at a till, by a code, and of refunds; ordinary ones often.
_AT_TILL = (
    *(0,) * 6,
    *(401, 402, 403, 404, 405, 406, 408, 409, 410, 411, 411, 412, 413, 414, 415, 416),
    *(417, 418, 419, 420, 421, 422, 423),
)
_BY_CODE = (*(0,) * 8, 401, 405, 406, 408, 409, 412, 417, 430, 431, 432)
_REFUNDS = (0, 0, 0, 502, 503, 504, 506, 507, 508)
#: How many sales are refunded, and how many orders by a code the shop closes itself.
_GIVEN_BACK, _CLOSED = 0.4, 0.15


@attrs.frozen(kw_only=True)
class Purchase:
    """A customer who comes and buys something."""

    number: str
    """The order's number."""
    at: float
    """When; seconds since the world began."""
    at_till: bool
    """Whether it is paid at a till; else by a code."""
    total_fee: int
    """The amount in fen; its last digits choose what happens to the payment."""
    auth_code: str = attrs.field(repr=False)
    """The customer's payment code."""
    gives_back: int = 0
    """How much is refunded afterwards, in fen; 0: nothing."""
    closed_after: float = 0.0
    """The shop closes the order after so many seconds; 0: never."""

    def pay(self) -> Pay:
        """What a till sends for it."""
        return Pay(
            out_trade_no=self.number, body="tea", total_fee=self.total_fee, auth_code=self.auth_code
        )

    def pre_order(self, now: datetime) -> WechatPreOrder:
        """What makes the code that is paid."""
        return WechatPreOrder(
            out_trade_no=self.number,
            body="tea",
            total_fee=self.total_fee,
            notify_url=NOTIFY_URL,
            time_expire=now + _CODE_LASTS,
            trade_type=TradeType.NATIVE,
            product_id="tea",
        )

    def given_back(self, paytype: PayType | str | None) -> Return:
        """What is refunded of it."""
        wallet = PayType(paytype or PayType.WECHAT)
        return Return(f"R{self.number}", self.number, self.gives_back, wallet, self.total_fee)


def drawn_purchase(rng: random.Random, weather: Weather, number: str) -> Purchase:
    """One customer."""
    at_till = rng.random() < weather.tills
    scenario = rng.choice(_AT_TILL if at_till else _BY_CODE)
    gives_back = 1000 + rng.choice(_REFUNDS) if rng.random() < _GIVEN_BACK else 0
    closes = not at_till and rng.random() < _CLOSED and weather.closes
    return Purchase(
        number=number,
        at=rng.uniform(1.0, COMING),
        at_till=at_till,
        total_fee=5000 + scenario,
        auth_code=f"13{rng.randrange(10**12):012d}1111",
        gives_back=gives_back if at_till else 0,
        closed_after=rng.uniform(0.0, 30.0) if closes else 0.0,
    )
