"""A picture of every page of the console: ``python -m tests.hard.screenshots docs/screenshots``."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path
from urllib.parse import urlencode

import httpx

from chaoying_async.sandbox import Fault
from tests.hard.browser import Browser, chromium
from tests.hard.served_sandbox import ServedSandbox, served_sandbox

WIDTH, HEIGHT = 1080, 780
PHONE = 390
#: Pages with more to see.
TALL = 960


def badly_signed(shop: ServedSandbox) -> None:
    """An order query as a program sends it that sorts the pairs and forgets the prefix."""
    credentials = shop.sandbox.credentials
    fields = {
        "agent_id": credentials.agent_id,
        "method": "orderquery",
        "mch_id": shop.sandbox.mch_id,
        "out_trade_no": "A1000103",
        "paytype": "WECHAT",
        "pid": credentials.pid,
        "version": credentials.version,
    }
    text = "&".join(f"{name}={fields[name]}" for name in sorted(fields)) + credentials.key
    fields["sign"] = hashlib.md5(text.encode()).hexdigest().upper()
    content = urlencode(fields)
    headers = {"content-type": "application/x-www-form-urlencoded"}
    httpx.post(f"{shop.url}/UnifiedPay/Gateway", content=content, headers=headers, trust_env=False)


def a_morning(shop: ServedSandbox, browser: Browser) -> None:
    """What the pictures show."""
    shop.pay("A1000101", 1000, attach="till 3")
    shop.pay("A1000102", 1405)
    shop.preorder("A1000103", 8405)
    shop.pay("A1000104", 2409)
    shop.preorder("A1000105", 100)
    shop.pay("A1000106", 406, code="280000000000001111")
    shop.refund("A1000101", "R1000001", 1000, 300)
    shop.refund("A1000101", "R1000002", 1000, 502)
    badly_signed(shop)
    shop.sandbox.faults.add(Fault.SLOW, probability=0.2, endpoints=["pay"], seconds=5)
    shop.sandbox.faults.add(Fault.NOTIFY_FORGED, probability=0.5)
    browser.open(f"{shop.console}order?mch_id=00000001&out_trade_no=A1000103")
    browser.one("button[value=CUSTOMER_PAYS]").click()
    browser.wait(lambda: len(shop.notified) > 1)
    browser.open(shop.console)
    browser.wait(lambda: browser.all("#orders .refund-fail"))


def main(folder: Path) -> None:
    """Write them all."""
    folder.mkdir(parents=True, exist_ok=True)
    with served_sandbox() as shop, chromium() as browser:
        browser.size(WIDTH, HEIGHT)
        a_morning(shop, browser)
        order = f"{shop.console}order?mch_id=00000001&out_trade_no=A1000103"
        bad = browser_link(shop, browser)
        pages = {
            "orders": shop.console,
            "order": order,
            "messages": f"{shop.console}messages",
            "message": f"{shop.console}message?id={bad}",
            "notifications": f"{shop.console}notifications",
            "faults": f"{shop.console}faults",
            "doctor": f"{shop.console}doctor?message={bad}",
        }
        for name, address in pages.items():
            browser.size(WIDTH, TALL if name in {"order", "message", "doctor"} else HEIGHT)
            browser.open(address)
            browser.shot(folder / f"{name}.png")
        browser.size(PHONE, HEIGHT)
        browser.open(shop.console)
        browser.shot(folder / "phone.png")
    with served_sandbox() as shop, chromium(language="zh-CN") as browser:
        browser.size(WIDTH, HEIGHT)
        a_morning(shop, browser)
        browser.open(f"{shop.console}order?mch_id=00000001&out_trade_no=A1000103")
        browser.size(WIDTH, TALL)
        browser.shot(folder / "order.zh-CN.png")


def browser_link(shop: ServedSandbox, browser: Browser) -> str:
    """The number of the message with the bad signature."""
    browser.open(f"{shop.console}messages?bad=1")
    return browser.one("tbody a").text


if __name__ == "__main__":
    main(Path(sys.argv[1]))
