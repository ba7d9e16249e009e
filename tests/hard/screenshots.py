"""A picture of every page of the console: ``python -m tests.hard.screenshots docs/screenshots``."""

from __future__ import annotations

import hashlib
import subprocess
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
    httpx.post(
        f"{shop.url}/UnifiedPay/Gateway",
        content=content,
        headers=headers,
        trust_env=False,
        timeout=60,
    )


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


#: A browser's language, and the ending of its pictures' names.
LANGUAGES = {"en": "", "zh-CN": ".zh-CN"}


def main(folder: Path) -> None:
    """Write them all, in each language."""
    if not subprocess.check_output(["fc-list", ":lang=zh"]):
        sys.exit("no font has Chinese characters: apt-get install fonts-noto-cjk")
    folder.mkdir(parents=True, exist_ok=True)
    for language, ending in LANGUAGES.items():
        with served_sandbox() as shop, chromium(language=language) as browser:
            browser.size(WIDTH, HEIGHT)
            a_morning(shop, browser)
            _pictures(shop, browser, folder, ending)


def _pictures(shop: ServedSandbox, browser: Browser, folder: Path, ending: str) -> None:
    bad = browser_link(shop, browser)
    pages = {
        "orders": shop.console,
        "order": f"{shop.console}order?mch_id=00000001&out_trade_no=A1000103",
        "messages": f"{shop.console}messages",
        "message": f"{shop.console}message?id={bad}",
        "notifications": f"{shop.console}notifications",
        "faults": f"{shop.console}faults",
        "doctor": f"{shop.console}doctor?message={bad}",
    }
    for name, address in pages.items():
        browser.size(WIDTH, TALL if name in {"order", "message", "doctor"} else HEIGHT)
        browser.open(address)
        browser.shot(folder / f"{name}{ending}.png")
    browser.size(PHONE, HEIGHT)
    browser.open(shop.console)
    browser.shot(folder / f"phone{ending}.png")


def browser_link(shop: ServedSandbox, browser: Browser) -> str:
    """The number of the message with the bad signature."""
    browser.open(f"{shop.console}messages?bad=1")
    return browser.one("tbody a").text


if __name__ == "__main__":
    main(Path(sys.argv[1]))
