"""``parse_notification``, typed and verified, against the same by hand into a dict.

On the two samples of the document, signed with a key of ours: Alipay's as printed (20 fields),
WeChat's with three more documented fields (16 in all).
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import parse_qsl, urlencode

from benchmarks import handmade
from benchmarks.report import Row, run
from chaoying_async import Credentials, parse_notification

ALIPAY = (
    "bank_type=ALIPAYACCOUNT&buyer_logon_id=138000000000%40qq.com&buyer_user_id=2088822494428000"
    "&device_info=device_info_yzq_01&fee_type=CNY&fund_bill_list=%5b%7b%22amount%22%3a%220.01%22%2c"
    "%22fundChannel%22%3a%22ALIPAYACCOUNT%22%7d%5d&gmt_create=20180417094613&invoice_amount=1"
    "&mch_id=f20170519135901860000&nonce_str=1523929649387&out_trade_no=15239295000000"
    "&out_transaction_id=2018041721001004870537670226&pay_result=0&result_code=SUCCESS"
    "&state=SUCCESS&time_end=20180417094729&total_fee=1&trade_type=pay.alipay.native"
    "&transaction_id=199520439266201804177199552446"
)
WECHAT = (
    "bank_type=CFT&coupon_fee=0&device_info=device_info_yzq_01&fee_type=CNY"
    "&mch_id=f20170519135901860000&nonce_str=1523929649387&out_trade_no=1523929500000"
    "&out_transaction_id=2018041721001004870537670226&pay_result=0&result_code=SUCCESS"
    "&state=SUCCESS&time_end=20180417094729&total_fee=1&trade_type=pay.weixin.native"
    "&transaction_id=199520439266201804177199552446"
)
#: Name -> sample without its signature, and how many fields it has with it.
SAMPLES = {"Alipay": (ALIPAY, 20), "WeChat": (WECHAT, 16)}


def signed(sample: str, fields: int) -> str:
    """The sample with a right signature, encoded as the gateway encodes it."""
    params = dict(parse_qsl(sample))
    params["sign"] = handmade.sign(params, handmade.KEY)
    if len(params) != fields:
        raise ValueError("not the sample that the table names")
    return urlencode(params)


def per_second(call: Callable[[], Any], calls: int) -> float:
    start = time.perf_counter()
    for _ in range(calls):
        call()
    return calls / (time.perf_counter() - start)


def measure(quick: bool) -> Sequence[Row]:  # noqa: FBT001 - the one switch of all benchmarks
    rounds, calls = (3, 300) if quick else (41, 2_000)
    credentials = Credentials(agent_id=handmade.AGENT_ID, key=handmade.KEY, pid=handmade.PID)
    rows = []
    for name, sample in SAMPLES.items():
        text = signed(*sample)
        body = text.encode()
        ours, peer = [], []
        for _ in range(rounds + 1):
            ours.append(per_second(lambda b=body: parse_notification(b, credentials), calls))  # type: ignore[misc]
            peer.append(per_second(lambda b=body: handmade.notification(b.decode()), calls))  # type: ignore[misc]
        del ours[0], peer[0]  # the first round warms up
        rows.append(
            Row(
                what=f"parse_notification, {name} ({sample[1]} fields)",
                ours=statistics.median(ours),
                peer=statistics.median(peer),
                unit="/s",
                limit=1.0,
                reach=1.3,
                rounds=[a / b for a, b in zip(ours, peer, strict=True)],
            )
        )
    return rows


if __name__ == "__main__":
    sys.exit(run("notification", measure))
