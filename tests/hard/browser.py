"""A real browser for the tests: headless Chromium, driven through selenium."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import pytest
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import WebDriverWait

from tests.servers import MissingProgramError, find_program

T = TypeVar("T")
#: Programs, and Debian's packages that have them.
PROGRAMS = CHROMIUM, DRIVER = ("chromium", "chromium"), ("chromedriver", "chromium-driver")
#: Seconds that a page has to show what is expected of it.
PATIENCE = 60.0

# Root needs --no-sandbox; the rest keeps Chromium from looking up its maker's hosts.
_FLAGS = """
    --headless --no-sandbox --disable-gpu --disable-quic --no-first-run
    --disable-background-networking --disable-component-update --disable-sync
    --disable-lcd-text --disable-dev-shm-usage --hide-scrollbars --force-device-scale-factor=1
""".split()  # noqa: SIM905 - reads as on a command line


def missing() -> str:
    """Why there is no browser here; empty if there is one. CI has to have it."""
    try:
        for program, package in PROGRAMS:
            find_program(program, package)
    except MissingProgramError as error:
        return "" if os.environ.get("CI") else str(error)
    return ""


needs_browser = pytest.mark.skipif(bool(missing()), reason=missing() or "there is one")


class Browser:
    """Chromium, with the few things that a test does to a page."""

    def __init__(self, driver: webdriver.Chrome) -> None:
        self.driver = driver

    def open(self, address: str) -> None:
        self.driver.get(address)

    def size(self, width: int, height: int) -> None:
        """The page's own width, which may be less than a window can be made."""
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)

    def one(self, css: str) -> WebElement:
        return self.driver.find_element(By.CSS_SELECTOR, css)

    def all(self, css: str) -> list[WebElement]:
        return self.driver.find_elements(By.CSS_SELECTOR, css)

    def text(self, css: str = "main") -> str:
        """What can be read there, in one piece: a page may be exchanging its nodes meanwhile."""
        script = "return document.querySelector(arguments[0])?.innerText ?? ''"
        return str(self.driver.execute_script(script, css))

    def wait(self, what: Callable[[], T]) -> T:
        """Wait until it is true, and give it."""
        return WebDriverWait(self.driver, PATIENCE).until(lambda _: what())

    def wait_for(self, text: str, css: str = "main") -> None:
        self.wait(lambda: text in self.text(css))

    def shot(self, path: Path) -> None:
        """A picture of what can be seen of the page, as PNG."""
        path.write_bytes(self.driver.get_screenshot_as_png())


@contextmanager
def chromium(*, language: str = "en") -> Generator[Browser]:
    """A browser of its own, with an empty profile."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        options = webdriver.ChromeOptions()
        options.binary_location = find_program(*CHROMIUM)
        for flag in (*_FLAGS, f"--user-data-dir={profile}", f"--lang={language}"):
            options.add_argument(flag)
        options.add_experimental_option("prefs", {"intl.accept_languages": language})
        service = Service(find_program(*DRIVER))
        driver = webdriver.Chrome(options=options, service=service)
        try:
            yield Browser(driver)
        finally:
            driver.quit()
