"""The console in a real Chromium, as a person uses it."""

from __future__ import annotations

from collections.abc import Generator
from urllib.parse import urlencode

import httpx
import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.select import Select

from chaoying_async.sandbox import Status
from tests.hard.browser import Browser, chromium, needs_browser
from tests.hard.screenshots import badly_signed
from tests.hard.served_sandbox import ServedSandbox, served_sandbox

pytestmark = needs_browser
ORDER = "order?mch_id=00000001&out_trade_no="
PAGES = (
    "",
    "messages",
    "notifications",
    "faults",
    "doctor",
    "api",
    f"{ORDER}A1000103",
    "order/explained?mch_id=00000001&out_trade_no=A1000103",
    "message?id=1",
)
ACTIVE = "return document.activeElement.{}"


@pytest.fixture(scope="module")
def browser() -> Generator[Browser]:
    with chromium() as opened:
        yield opened


@pytest.fixture
def shop(browser: Browser) -> Generator[ServedSandbox]:
    browser.size(1200, 800)
    with served_sandbox() as opened:
        yield opened
        browser.open("about:blank")


def complaints(browser: Browser) -> list[str]:
    """What the browser itself found wrong: broken policies, missing files, errors of scripts."""
    log: list[dict[str, str]] = browser.driver.get_log("browser")  # type: ignore[no-untyped-call]
    return [entry["message"] for entry in log if entry["level"] == "SEVERE"]


def test_an_order_appears_is_paid_and_notified(shop: ServedSandbox, browser: Browser) -> None:
    """Made through the API, seen without reloading, paid by a button, notified at the shop."""
    browser.open(shop.console)
    browser.wait_for("live", "#line")
    assert "No orders yet" in browser.text()
    shop.preorder("A1000103", 8405)
    browser.wait_for("A1000103", "#orders")
    browser.one("#orders a").click()
    browser.wait_for("Order A1000103")
    assert browser.one(".qr svg").size["height"] > 100
    browser.one("button[value=CUSTOMER_PAYS]").click()
    browser.wait_for("Done.", "#said")
    browser.wait(lambda: shop.notified)
    browser.wait_for("Notification, attempt 1: accepted")
    assert "paid" in browser.text("[role=status] .badge")
    assert shop.sandbox.ledger.order("A1000103").status is Status.PAID
    browser.open(f"{shop.console}notifications")
    assert "accepted (200 success)" in browser.text("tbody")
    browser.one("button[value=forged]").click()
    browser.wait_for("Sent.", "#said")
    assert len(shop.notified) == 2
    assert complaints(browser) == []


def test_a_page_follows_time_by_itself(shop: ServedSandbox, browser: Browser) -> None:
    """What comes due is seen though nobody asks; what the visitor opened stays open."""
    shop.preorder("A1000100", 100)  # paid after 2 seconds
    browser.open(f"{shop.console}{ORDER}A1000100")
    browser.one("#asked summary").click()
    amount = browser.one("#refund-yuan")
    amount.clear()
    amount.send_keys("0.5")
    browser.wait_for("paid", "dd[role=status]")
    assert browser.one("#asked").get_attribute("open") is not None
    browser.wait_for("Notification, attempt 1")
    assert browser.one("#refund-yuan").get_attribute("value") == "0.5"
    assert browser.driver.execute_script(ACTIVE.format("id")) == "refund-yuan"


def test_a_fault_is_injected(shop: ServedSandbox, browser: Browser) -> None:
    """Switched on in the page, met by the next request, seen at its message, switched off."""
    browser.open(f"{shop.console}faults")
    Select(browser.one("#fault")).select_by_value("http-502")
    Select(browser.one("#endpoint")).select_by_visible_text("pay")
    browser.one("form[action='/console/faults/add'] button").click()
    browser.wait_for("http-502", "#active")
    sent = httpx.post(
        f"{shop.url}/UnifiedPay/Gateway",
        content=urlencode({"method": "pay"}),
        headers={"content-type": "application/x-www-form-urlencoded"},
        trust_env=False,
    )
    assert sent.status_code == 502
    browser.open(f"{shop.console}messages")
    browser.wait_for("http-502", "tbody")
    browser.open(f"{shop.console}faults")
    browser.one("#active button[value='0']").click()
    browser.wait_for("Nothing goes wrong on purpose", "#active")
    assert complaints(browser) == []


def test_the_doctor_gives_its_verdict(shop: ServedSandbox, browser: Browser) -> None:
    """On a message that the sandbox received, and on one that is pasted, which stays there."""
    badly_signed(shop)
    browser.open(f"{shop.console}messages")
    browser.one("tbody").find_element(By.PARTIAL_LINK_TEXT, "Ask the doctor").click()
    browser.wait_for("key-bare", "#verdict")
    browser.open(f"{shop.console}doctor")
    browser.one("#message").send_keys("mch_id=9&total_fee=100&sign=" + "0" * 32)
    browser.one("#key").send_keys("secret-key-of-somebody")
    browser.one("form[data-answer] button").click()
    browser.wait_for("sign-placeholder", "#verdict")
    assert browser.one("#message").get_attribute("value") != ""
    assert "secret-key-of-somebody" not in browser.driver.page_source
    assert browser.driver.current_url.endswith("/console/doctor")
    assert complaints(browser) == []


def test_all_of_it_works_with_the_keyboard(shop: ServedSandbox, browser: Browser) -> None:
    """Skip the navigation, walk to a button whose focus can be seen, press it, hear the result."""
    shop.preorder("A1000103", 8405)
    browser.open(f"{shop.console}{ORDER}A1000103")
    press(browser, Keys.TAB)
    assert "skip" in str(browser.driver.execute_script(ACTIVE.format("className")))
    press(browser, Keys.ENTER)
    assert browser.driver.execute_script(ACTIVE.format("id")) == "main"
    walked = []
    while browser.driver.execute_script(ACTIVE.format("value")) != "CUSTOMER_PAYS":
        press(browser, Keys.TAB)
        walked.append(browser.driver.execute_script(ACTIVE.format("tagName")))
        assert len(walked) < 10, walked
    assert browser.driver.execute_script(
        "const style = getComputedStyle(document.activeElement);"
        "return style.outlineStyle === 'solid' && parseFloat(style.outlineWidth) >= 2"
    )
    press(browser, Keys.ENTER)
    browser.wait_for("Done.", "#said")
    assert browser.driver.execute_script(ACTIVE.format("id")) == "said"
    assert shop.sandbox.ledger.order("A1000103").status is Status.PAID


def press(browser: Browser, key: str) -> None:
    browser.driver.switch_to.active_element.send_keys(key)


def test_every_control_has_a_name(shop: ServedSandbox, browser: Browser) -> None:
    """Fields have labels, buttons have words, ids come once, headings begin with one h1."""
    shop.preorder("A1000103", 8405)
    for page in PAGES:
        browser.open(f"{shop.console}{page}")
        nameless = browser.driver.execute_script("""
            for (const each of document.querySelectorAll('details')) each.open = true;
            const named = (e) => e.labels?.length || e.ariaLabel || e.innerText?.trim();
            const all = 'input:not([type=hidden]), select, textarea, button, a';
            return [...document.querySelectorAll(all)]
              .filter((e) => !named(e)).map((e) => e.outerHTML)""")
        assert nameless == [], page
        twice = browser.driver.execute_script("""
            const ids = [...document.querySelectorAll('[id]')].map((e) => e.id);
            return ids.filter((id, at) => ids.indexOf(id) !== at)""")
        assert twice == [], page
        assert len(browser.all("h1")) == 1


@pytest.mark.parametrize("language", ["en", "zh"])
def test_a_phone_shows_it_without_scrolling_sideways(
    shop: ServedSandbox, browser: Browser, language: str
) -> None:
    """At 360 pixels, every page, with long numbers and long texts, in both languages."""
    shop.preorder("A1000103", 8405)
    shop.pay("A" * 32, 2409, attach="x" * 120)
    badly_signed(shop)
    browser.size(360, 740)
    browser.open(shop.console)
    if language == "zh":
        browser.one(".tools button").click()
        browser.wait_for("订单", "h1")
    for page in (*PAGES, f"{ORDER}{'A' * 32}", "message?id=2", "doctor?message=3"):
        browser.open(f"{shop.console}{page}")
        for details in browser.all("details > summary"):
            details.click()
        wide = "return document.documentElement.scrollWidth"
        assert browser.driver.execute_script(wide) <= 360, page
    browser.driver.delete_all_cookies()


def test_a_refused_form_stays_typed(shop: ServedSandbox, browser: Browser) -> None:
    """The page stays fresh below the banner, keeps what was typed, and can be reloaded."""
    shop.preorder("A1000100", 100)  # paid after 2 seconds
    browser.open(f"{shop.console}{ORDER}A1000100")
    amount = browser.one("#refund-yuan")
    amount.clear()
    amount.send_keys("0.5x", Keys.ENTER)
    browser.wait_for("An amount is", "#said[role=alert]")
    assert browser.driver.execute_script(ACTIVE.format("id")) == "said"
    assert browser.driver.current_url == f"{shop.console}{ORDER}A1000100"
    browser.wait_for("paid", "dd[role=status]")
    assert browser.one("#refund-yuan").get_attribute("value") == "0.5x"
    browser.driver.refresh()
    assert browser.all("#said") == []
    assert browser.one("#refund-yuan").get_attribute("value") == "1.00"
    assert [each for each in complaints(browser) if "422" not in each] == []


def test_an_open_page_outlives_a_restart(shop: ServedSandbox, browser: Browser) -> None:
    """It learns the new process's token by itself; and where it has not, nothing is typed twice."""
    browser.open(shop.console)
    browser.wait_for("live", "#line")
    browser.one("#yuan").clear()
    browser.one("#yuan").send_keys("4.06")
    guard = shop.sandbox.app.guard
    assert guard is not None
    guard.form_token = "of-the-next-process"
    shop.preorder("A1000103", 8405)
    browser.wait_for("A1000103", "#orders")
    browser.one("#new button").click()
    browser.wait_for("4.06", "dl")
    browser.open(f"{shop.console}doctor")
    browser.one("#message").send_keys("mch_id=9&total_fee=100&sign=" + "0" * 32)
    guard.form_token = "of-the-one-after"
    button = "form[data-answer] button"
    browser.one(button).click()
    browser.wait_for("the sandbox was restarted", "#verdict")
    browser.one(button).click()
    browser.wait_for("sign-placeholder", "#verdict")


def test_pages_work_without_the_script(shop: ServedSandbox, browser: Browser) -> None:
    """The script keeps them fresh, and that is all: forms and links need none of it."""
    shop.preorder("A1000103", 8405)
    off = {"value": True}
    browser.driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", off)
    try:
        browser.open(f"{shop.console}{ORDER}A1000103")
        browser.one("button[value=CUSTOMER_DECLINES]").click()
        browser.wait(lambda: "said=done" in browser.driver.current_url)
        assert shop.sandbox.ledger.order("A1000103").status is Status.FAILED
    finally:
        browser.driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})


@pytest.mark.parametrize("width", [1080, 390])
def test_numbers_do_not_break_inside(shop: ServedSandbox, browser: Browser, width: int) -> None:
    """The longest order number is one line, all of it to be seen; so is the state beside it."""
    number = "20261129_" + "0" * 23
    shop.pay(number, 2000)
    shop.refund(number, "R" + "0" * 31, 2000, 100)
    shop.preorder("A1000103", 8405)
    browser.size(width, 800)
    for page in ("", "messages", f"{ORDER}{number}", "message?id=1"):
        browser.open(f"{shop.console}{page}")
        broken = browser.driver.execute_script("""
            const lines = (e) => {
              const range = document.createRange();
              range.selectNodeContents(e);
              return new Set([...range.getClientRects()].map((each) => each.top)).size;
            };
            return [...document.querySelectorAll('main .number, tbody .paid')]
              .filter((e) => lines(e) !== 1 || e.scrollWidth > e.clientWidth + 1)
              .map((e) => e.outerHTML)""")
        assert broken == [], page
        assert number in browser.text(), page
        assert browser.driver.execute_script("return document.documentElement.scrollWidth") <= width


def test_the_scenario_of_an_amount_is_said_while_it_is_typed(
    shop: ServedSandbox, browser: Browser
) -> None:
    """And stays right when the page is fetched again."""
    browser.open(shop.console)
    says = "#yuan-says"
    assert "405" in browser.text(says)
    for typed, words in (("14.04", "404"), ("3", "no scenario of its own"), ("1,2", "")):
        amount = browser.one("#yuan")
        amount.clear()
        amount.send_keys(typed)
        assert words in browser.text(says)
        assert bool(browser.text(says)) == bool(words)
    Select(browser.one("#scenario")).select_by_value("403")
    assert browser.text(says) == ""
    shop.preorder("A1000100", 100)  # paid after 2 seconds
    browser.open(f"{shop.console}{ORDER}A1000100")
    amount = browser.one("#refund-yuan")
    amount.clear()
    amount.send_keys("0.50")
    assert browser.text("#refund-yuan-says").startswith("¥0.50 → no scenario")
    browser.wait_for("paid", "dd[role=status]")
    assert browser.text("#refund-yuan-says").startswith("¥0.50 → no scenario")
