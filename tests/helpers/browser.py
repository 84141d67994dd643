"""A page in headless Chromium, over its debugging protocol: what a reader's browser makes of it."""

import base64
import itertools
import json
import os
import select
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
TIMEOUT_SECONDS = 120.0
"""For any single answer, on a machine that does something else too."""

Values = dict[str, Any]


def browser_program() -> str | None:
    """The first that is installed."""
    return next((path for name in NAMES if (path := shutil.which(name))), None)


class Browser:
    """One process; commands and events go over two pipes, as texts that end in a zero byte."""

    def __init__(self, to_browser: int, from_browser: int) -> None:
        self._to, self._from = to_browser, from_browser
        self._numbers = itertools.count(1)
        self._read = b""
        self.events: list[Values] = []

    def call(self, method: str, session: str | None = None, **parameters: Any) -> Values:
        """Asks and waits for the answer; what comes meanwhile is kept in `events`."""
        number = next(self._numbers)
        message: Values = {"id": number, "method": method, "params": parameters}
        if session is not None:
            message["sessionId"] = session
        os.write(self._to, json.dumps(message).encode() + b"\0")
        while True:
            found = self._next()
            if found.get("id") == number:
                assert "error" not in found, f"{method}: {found['error']}"
                result: Values = found["result"]
                return result

    def wait_for(self, method: str, session: str) -> None:
        """Until such an event has come."""
        while not any(
            one["method"] == method and one.get("sessionId") == session for one in self.events
        ):
            self._next()

    def _next(self) -> Values:
        end = time.monotonic() + TIMEOUT_SECONDS
        while b"\0" not in self._read:
            ready, _, _ = select.select([self._from], [], [], max(0.0, end - time.monotonic()))
            assert ready, "the browser does not answer"
            piece = os.read(self._from, 1 << 20)
            assert piece, "the browser has ended"
            self._read += piece
        text, _, self._read = self._read.partition(b"\0")
        message: Values = json.loads(text)
        if "method" in message:
            self.events.append(message)
        return message


class View:
    """A page, opened at some width."""

    def __init__(self, browser: Browser, session: str) -> None:
        self._browser, self._session = browser, session

    def value(self, expression: str) -> Any:
        """Of a JavaScript expression."""
        found = self._browser.call(
            "Runtime.evaluate", self._session, expression=expression, returnByValue=True
        )
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    @property
    def messages(self) -> list[Values]:
        """What stands in the console: errors, warnings, anything a page could say."""
        names = ("Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Log.entryAdded")
        return [one for one in self._events() if one["method"] in names]

    @property
    def requests(self) -> list[str]:
        """Addresses that were asked for, the page itself included."""
        return [
            one["params"]["request"]["url"]
            for one in self._events()
            if one["method"] == "Network.requestWillBeSent"
        ]

    def picture(self, path: Path) -> None:
        """The whole page as PNG."""
        found = self._browser.call(
            "Page.captureScreenshot", self._session, format="png", captureBeyondViewport=True
        )
        path.write_bytes(base64.b64decode(found["data"]))

    def paper(self, path: Path | None = None) -> bytes:
        """The page as PDF, on the paper that its style asks for."""
        found = self._browser.call("Page.printToPDF", self._session, preferCSSPageSize=True)
        pdf = base64.b64decode(found["data"])
        if path is not None:
            path.write_bytes(pdf)
        return pdf

    def _events(self) -> list[Values]:
        return [one for one in self._browser.events if one.get("sessionId") == self._session]


@contextmanager
def open_browser(profile: Path) -> Iterator[Browser]:
    """profile: a folder for what the browser writes. Ends the browser."""
    program = browser_program()
    assert program is not None
    read_end, to_browser = os.pipe()
    from_browser, write_end = os.pipe()
    # The browser wants its pipes as 3 and 4, where Python may have something else.
    command = f'exec "$@" 3<&{read_end} 4>&{write_end}'
    options = [
        "--headless=new", "--remote-debugging-pipe", f"--user-data-dir={profile}", "--no-sandbox",
        "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
        "--disable-background-networking", "--disable-component-update", "--hide-scrollbars",
    ]  # fmt: skip
    with subprocess.Popen(
        ["bash", "-c", command, "bash", program, *options],
        pass_fds=(read_end, write_end),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        os.close(read_end)
        os.close(write_end)
        try:
            yield Browser(to_browser, from_browser)
        finally:
            process.kill()
            os.close(to_browser)
            os.close(from_browser)


def open_page(
    browser: Browser,
    page: Path,
    *,
    width: int,
    height: int = 900,
    media: Literal["screen", "print"] = "screen",
    scheme: Literal["light", "dark"] = "light",
) -> View:
    """A tab of its own. width: of the window, in CSS pixels."""
    target = browser.call("Target.createTarget", url="about:blank")["targetId"]
    session = browser.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
    for domain in ("Page", "Runtime", "Log", "Network"):
        browser.call(f"{domain}.enable", session)
    browser.call(
        "Emulation.setDeviceMetricsOverride",
        session, width=width, height=height, deviceScaleFactor=1, mobile=False,
    )  # fmt: skip
    browser.call(
        "Emulation.setEmulatedMedia",
        session, media=media, features=[{"name": "prefers-color-scheme", "value": scheme}],
    )  # fmt: skip
    browser.call("Page.navigate", session, url=page.resolve().as_uri())
    browser.wait_for("Page.loadEventFired", session)
    return View(browser, session)
