"""Debian's headless Chromium, driven by chromedriver's HTTP interface (W3C, WebDriver)."""

from __future__ import annotations

import base64
import io
import json
import os
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
         "--disable-background-networking", "--disable-component-update", "--disable-sync",
         "--window-size=1500,900"]  # fmt: skip
PATIENCE = 100
KEYS = {"Enter": "\ue007", "Escape": "\ue00c", "ArrowDown": "\ue015", "ArrowUp": "\ue013", "Control": "\ue009"}


def programs() -> tuple[str, str]:
    """chromium and chromedriver.  Where they are missing the test is skipped, in continuous integration it fails."""
    found = shutil.which("chromium"), shutil.which("chromedriver")
    if found[0] is None or found[1] is None:
        sentence = "chromium and chromedriver are not installed (Debian: chromium, chromium-driver)"
        if os.environ.get("CI") == "true":
            pytest.fail(sentence)
        pytest.skip(sentence)
    return found


class Browser:
    """One window.  Close it."""

    def __init__(self, profile: Path) -> None:
        chromium, driver = programs()
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        self._driver = subprocess.Popen(
            [driver, f"--port={port}", "--allowed-ips=127.0.0.1"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        self._base = f"http://127.0.0.1:{port}"
        self._session = ""
        try:
            wait_for(lambda: self._ready(), "chromedriver")
            options = {"binary": chromium, "args": [*FLAGS, f"--user-data-dir={profile}"]}
            capabilities = {"alwaysMatch": {"browserName": "chrome", "goog:chromeOptions": options}}
            self._session = "/session/" + self._call("POST", "/session", capabilities=capabilities)["sessionId"]
        except BaseException:
            self.close()
            raise

    def _ready(self) -> bool:
        try:
            return bool(self._call("GET", "/status")["ready"])
        except OSError:
            return False

    def _call(self, method: str, path: str, **body: Any) -> Any:
        data = json.dumps(body).encode() if method == "POST" else None
        request = urllib.request.Request(self._base + path, data, {"Content-Type": "application/json"}, method=method)
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
                return json.load(answer)["value"]
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{path} {body}: {json.load(error)['value']['message']}") from None

    def open(self, url: str) -> None:
        self._call("POST", f"{self._session}/url", url=url)

    def run(self, script: str) -> Any:
        """What JavaScript returns."""
        return self._call("POST", f"{self._session}/execute/sync", script=script, args=[])

    def type(self, text: str, selector: str) -> None:
        """Types at the element that `selector` finds."""
        element = self._call("POST", f"{self._session}/element", using="css selector", value=selector)
        self._call("POST", f"{self._session}/element/{next(iter(element.values()))}/value", text=text)

    def click(self, selector: str) -> None:
        """Clicks at the element that `selector` finds."""
        element = self._call("POST", f"{self._session}/element", using="css selector", value=selector)
        self._call("POST", f"{self._session}/element/{next(iter(element.values()))}/click")

    def pixels(self, selector: str = "canvas") -> NDArray[np.uint8]:
        """Red, green and blue of a canvas."""
        url = self.run(f"return document.querySelector('{selector}').toDataURL('image/png')")
        return np.asarray(Image.open(io.BytesIO(base64.b64decode(url.split(",")[1]))).convert("RGB"))

    def close(self) -> None:
        try:
            if self._session:
                self._call("DELETE", self._session)
        finally:
            self._driver.terminate()
            self._driver.wait()


def wait_for(condition: Callable[[], bool], what: str) -> None:
    """Asks until it is so; fails when it does not come."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > deadline:
            pytest.fail(f"{what} did not come")
        time.sleep(0.05)
