"""Debian's Chromium, driven over its DevTools pipe: no driver and no library in between.

https://chromedevtools.github.io/devtools-protocol/ . A browser has a profile of its own, which is
gone with it. What a page logs as an error, or what its content security policy refuses, is kept.
"""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.patience import PATIENCE_SECONDS

MISSING = "no chromium on this machine (Debian: apt-get install chromium)"


def program() -> str | None:
    """Where Chromium is, if it is there."""
    return shutil.which("chromium") or shutil.which("chromium-browser")


class Browser:
    """One browser with one page."""

    def __init__(self, to_browser: int, from_browser: int) -> None:
        self._out = os.fdopen(to_browser, "wb", buffering=0)
        self._in = os.fdopen(from_browser, "rb")
        self._answers: dict[int, dict[str, Any]] = {}
        self._arrived = threading.Condition()
        self._last = 0
        self._session = ""
        self.said: list[str] = []
        """Errors that the page logged."""
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        found = self._call("Target.createTarget", url="about:blank")
        attached = self._call("Target.attachToTarget", targetId=found["targetId"], flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self._call(f"{domain}.enable")

    def open(self, url: str) -> None:
        """Go to a page, and wait until it is there."""
        self.run("window.__left = true")
        self._call("Page.navigate", url=url)
        self.loaded()

    def loaded(self) -> None:
        """Wait until another page than the one of before is there."""
        self.wait("!window.__left && document.readyState === 'complete'")

    def run(self, script: str) -> Any:
        """The value of an expression in the page; promises are waited for."""
        found = self._call(
            "Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True
        )
        if "exceptionDetails" in found:
            raise AssertionError(json.dumps(found["exceptionDetails"])[:2000])
        return found["result"].get("value")

    def wait(self, script: str) -> None:
        """Wait until an expression is true."""
        end = time.monotonic() + PATIENCE_SECONDS
        while True:
            try:
                if self.run(script):
                    return
            except AssertionError as error:  # between two pages
                if "Context" not in str(error) and "navigat" not in str(error):
                    raise
            if time.monotonic() > end:
                raise AssertionError(
                    f"not within {PATIENCE_SECONDS:.0f} s: {script}\n{self.text()}"
                )
            time.sleep(0.05)

    def text(self) -> str:
        """What a reader sees."""
        return str(self.run("document.body ? document.body.innerText : ''"))

    def fill(self, selector: str, text: str) -> None:
        """Type into a field, as the keyboard does."""
        self.run(f"document.querySelector({json.dumps(selector)}).focus()")
        self.run(f"document.querySelector({json.dumps(selector)}).select?.()")
        self._call("Input.insertText", text=text)

    def click(self, selector: str) -> None:
        """Click on what a selector finds, and wait for the page that it leads to."""
        self.run("window.__left = true")
        self.run(f"document.querySelector({json.dumps(selector)}).click()")
        self.loaded()

    def press(self, key: str) -> None:
        """Press one key: ``Tab``, ``Enter``."""
        codes = {"Tab": (9, ""), "Enter": (13, "\r")}
        number, text = codes[key]
        common = {"key": key, "code": key, "windowsVirtualKeyCode": number}
        self._call("Input.dispatchKeyEvent", type="keyDown", text=text, **common)
        self._call("Input.dispatchKeyEvent", type="keyUp", **common)

    def shape(self, width: int, *, dark: bool = False) -> None:
        """Give the window a width, and the reader a preference."""
        self._call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=900,
            deviceScaleFactor=1,
            mobile=width < 600,
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self._call("Emulation.setEmulatedMedia", features=[scheme])

    def picture(self, path: Path) -> None:
        """A picture of the whole page."""
        found = self._call("Page.captureScreenshot", format="png", captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(found["data"]))

    def cookies(self) -> list[dict[str, Any]]:
        """All cookies, also those that no script sees."""
        return list(self._call("Network.getCookies")["cookies"])

    def without_script(self, without: bool) -> None:
        """Turn scripts of pages off, or on."""
        self._call("Emulation.setScriptExecutionDisabled", value=without)

    def close(self) -> None:
        """Ask the browser to end."""
        self._session = ""
        self._call("Browser.close")
        self._reader.join()
        self._out.close()
        self._in.close()

    def _call(self, method: str, **params: object) -> Any:
        with self._arrived:
            self._last += 1
            number = self._last
            message: dict[str, object] = {"id": number, "method": method, "params": params}
            if self._session:
                message["sessionId"] = self._session
            self._out.write(json.dumps(message).encode() + b"\0")
            if not self._arrived.wait_for(lambda: number in self._answers, PATIENCE_SECONDS):
                raise AssertionError(f"{method}: no answer of the browser")
            answer = self._answers.pop(number)
        if "error" in answer:
            raise AssertionError(f"{method}: {answer['error']}")
        return answer["result"]

    def _read(self) -> None:
        rest = b""
        while piece := os.read(self._in.fileno(), 1 << 16):
            *whole, rest = (rest + piece).split(b"\0")
            for each in whole:
                self._take(json.loads(each))

    def _take(self, message: dict[str, Any]) -> None:
        params = message.get("params", {})
        if "id" in message:
            with self._arrived:
                self._answers[message["id"]] = message
                self._arrived.notify_all()
        elif message["method"] == "Log.entryAdded" and params["entry"]["level"] == "error":
            self.said.append(params["entry"]["text"])
        elif message["method"] == "Runtime.exceptionThrown":
            self.said.append(json.dumps(params["exceptionDetails"])[:500])


@contextmanager
def browser() -> Iterator[Browser]:
    """A browser, until the block ends."""
    found = program()
    assert found is not None
    down_read, down_write = os.pipe()
    up_read, up_write = os.pipe()
    with tempfile.TemporaryDirectory(prefix="wg-browser-", ignore_cleanup_errors=True) as profile:
        words = [
            found,
            "--headless",
            "--no-sandbox",  # a container's root has no other way
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--no-first-run",
            "--remote-debugging-pipe",
            f"--user-data-dir={profile}",
        ]
        # The pipe is at 3 (to the browser) and 4 (from it).
        shell = f'exec "$@" 3<&{down_read} 4>&{up_write}'
        process = subprocess.Popen(
            ["/bin/bash", "-c", shell, "bash", *words],
            pass_fds=(down_read, up_write),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(down_read)
        os.close(up_write)
        opened = Browser(down_write, up_read)
        try:
            yield opened
        finally:
            opened.close()
            process.wait(PATIENCE_SECONDS)
