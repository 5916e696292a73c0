"""Debian's Chromium without a window, driven by Selenium: pages, what its console said, pictures, axe-core.

Every wait is for what the page shows, with a deadline.
"""

from __future__ import annotations

import base64
import shutil
from typing import TYPE_CHECKING

from selenium import webdriver
from selenium.common.exceptions import NoSuchElementException, StaleElementReferenceException, TimeoutException
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait

if TYPE_CHECKING:
    from pathlib import Path

DEADLINE_S = 30
DESK, PHONE = 1280, 390
LIGHT, DARK = "light", "dark"
SWITCHES = (
    "--headless=new",
    "--no-sandbox",
    "--disable-dev-shm-usage",
    "--disable-gpu",
    "--hide-scrollbars",
    "--lang=en",
)
# What a page must not say to the developer of a browser; an answer with an error status is the page's own business.
EXPECTED = tuple(f"status of {status}" for status in (401, 403, 404, 405, 409, 422, 429))


def missing():
    """Why there is no Chromium, or an empty text."""
    names = [name for name in ("chromium", "chromedriver") if not shutil.which(name)]
    return f"{' and '.join(names)} missing: apt-get install chromium chromium-driver" if names else ""


class Chromium:
    """One browser with a profile of its own. Use as a context manager."""

    def __init__(self, origin, *, scripts=True):
        options = webdriver.ChromeOptions()
        options.binary_location = shutil.which("chromium")
        for switch in SWITCHES:
            options.add_argument(switch)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        if not scripts:
            options.add_experimental_option("prefs", {"profile.managed_default_content_settings.javascript": 2})
        self.origin = origin
        self.driver = webdriver.Chrome(options=options, service=Service(shutil.which("chromedriver")))
        self.driver.set_page_load_timeout(DEADLINE_S)
        self.look()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.driver.quit()

    def look(self, width=DESK, theme=LIGHT, height=900):
        """The size of the window, and what the system says about dark and light."""
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        features = [
            {"name": "prefers-color-scheme", "value": theme},
            {"name": "prefers-reduced-motion", "value": "reduce"},
        ]
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})

    def go(self, address):
        """A page of the console."""
        self.driver.get(self.origin + address)

    @property
    def address(self):
        """Path and query of the page that is shown."""
        return self.driver.current_url.removeprefix(self.origin)

    @property
    def text(self):
        """All that is seen of the page."""
        return self.find("body").text

    def find(self, selector):
        """One element."""
        return self.driver.find_element(By.CSS_SELECTOR, selector)

    def all(self, selector):
        """Every element."""
        return self.driver.find_elements(By.CSS_SELECTOR, selector)

    def until(self, what):
        """Look again until the answer is true; a page that is just being replaced has no answer. The answer."""
        ignored = (NoSuchElementException, StaleElementReferenceException)
        try:
            return WebDriverWait(self.driver, DEADLINE_S, 0.1, ignored).until(lambda _: what())
        except TimeoutException as error:
            # Not before: while a page is being replaced there is no text of it.
            raise AssertionError(f"{self.address}: {self.text[:2000]}") from error

    def until_shown(self, text):
        """Until the page has a text."""
        return self.until(lambda: text in self.text)

    def link(self, text, within="body"):
        """The first link or button with this text."""
        for each in self.all(f"{within} a, {within} button, {within} summary"):
            if each.is_displayed() and " ".join(each.text.split()) == text:
                return each
        raise NoSuchElementException(text)

    def click(self, text, within="main"):
        """A link or button, and wait for the page that comes."""
        old = self.find("html")
        self.link(text, within).click()
        self.until(lambda: self.find("html") != old)

    def fill(self, name, value):
        """A field by its name."""
        field = self.find(f'main [name="{name}"]')
        field.clear()
        field.send_keys(value)
        return field

    def press(self, *keys):
        """Keys, wherever the focus is."""
        self.driver.switch_to.active_element.send_keys(*keys)

    def sign_in(self, link, password="correct horse battery"):
        """By a one-time link of `console user add`."""
        self.driver.get(link)
        self.fill("password", password)
        self.fill("again", password + Keys.ENTER)
        self.until(lambda: self.all("details.account"))

    def said(self):
        """What the page reported to the browser's console since the last call, but answers with an expected status."""
        return [
            each["message"]
            for each in self.driver.get_log("browser")
            if each["level"] in ("SEVERE", "WARNING") and not any(text in each["message"] for text in EXPECTED)
        ]

    def is_wider_than_window(self):
        """Whether one must scroll sideways to read it."""
        return self.driver.execute_script("return document.documentElement.scrollWidth > innerWidth + 1")

    def picture(self, path: Path, *, height=6000):
        """A PNG of the page, so many pixels of it at most."""
        path.parent.mkdir(parents=True, exist_ok=True)
        width, whole = self.driver.execute_script("return [innerWidth, document.documentElement.scrollHeight]")
        clip = {"x": 0, "y": 0, "width": width, "height": min(whole, height), "scale": 1}
        shot = self.driver.execute_cdp_cmd("Page.captureScreenshot", {"captureBeyondViewport": True, "clip": clip})
        path.write_bytes(base64.b64decode(shot["data"]))

    def problems(self, axe: str):
        """What axe-core finds serious or critical: its id and the elements."""
        self.driver.execute_script(axe)
        found = self.driver.execute_async_script(
            "const done = arguments[0]; axe.run(document, {resultTypes: ['violations']}).then("
            "r => done(r.violations), e => done([{impact: 'critical', id: String(e), nodes: []}]))"
        )
        return [
            (each["id"], [f"{node['html'][:200]} {node.get('failureSummary', '')[:300]}" for node in each["nodes"][:4]])
            for each in found
            if each["impact"] in ("serious", "critical")
        ]
