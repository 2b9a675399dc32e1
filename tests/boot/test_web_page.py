"""The page of --display web in Debian's headless Chromium, with a machine that the test plays: pictures dot by dot,
keys, a captured mouse, and the small terminal."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.boot.browser import KEYS, Browser, wait_for
from tests.display.test_web import Site

WRITTEN: deque[bytes] = deque()  # by the guest, on its serial line


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Site, Browser]]:
    site = Site()
    ended = threading.Event()

    def serve() -> None:
        while not ended.is_set():
            while WRITTEN:
                site.display.receive_output(WRITTEN.popleft())
            site.display.poll()
            time.sleep(0.005)

    server = threading.Thread(target=serve)
    server.start()
    browser = None
    try:
        profile: Path = tmp_path_factory.mktemp("browser") / "profile"
        browser = Browser(profile)
        browser.open(site.display.url)
        wait_for(lambda: browser.run("return document.getElementById('state').textContent") == "connected", "the page")
        yield site, browser
    finally:
        if browser is not None:
            browser.close()
        ended.set()
        server.join()
        site.display.close()


def log_after(site: Site, count: int) -> list[tuple[object, ...]]:
    """What the machine got, once there are `count` entries; the log begins anew."""
    wait_for(lambda: len(site.machine.log) >= count, f"{count} inputs; there are {site.machine.log}")
    log, site.machine.log = site.machine.log, []
    return log


def test_pictures_arrive_dot_by_dot(page: tuple[Site, Browser]) -> None:
    site, browser = page
    rng = np.random.default_rng(7)
    for shape in ((70, 100), (70, 100), (300, 260)):
        pixels = rng.integers(0, 1 << 24, shape, dtype=np.uint32)
        site.machine.pixels = pixels
        wanted = np.stack([pixels >> np.uint32(shift) & np.uint32(255) for shift in (16, 8, 0)], axis=2)
        wait_for(lambda wanted=wanted: np.array_equal(browser.pixels(), wanted), "the picture")
    site.machine.pixels = pixels.copy()
    site.machine.pixels[150, 200] = 0x0000FF
    wait_for(lambda: browser.pixels()[150, 200].tolist() == [0, 0, 255], "the dot")


def test_keys(page: tuple[Site, Browser]) -> None:
    site, browser = page
    browser.type("aB" + KEYS["ArrowUp"] + KEYS["Enter"], "canvas")
    log = log_after(site, 10)
    assert [entry for entry in log if "shift_left" not in entry] == [
        (what, key) for key in ("a", "b", "up", "enter") for what in ("press", "release")
    ]
    assert log.index(("press", "shift_left")) < log.index(("press", "b")) < log.index(("release", "shift_left"))
    browser.click("#reset-keys")
    assert log_after(site, 1) == [("send", "ctrl-alt-delete")]


def test_a_captured_mouse(page: tuple[Site, Browser]) -> None:
    site, browser = page
    browser.click("canvas")
    time.sleep(0.1)
    assert site.machine.log == [], "a mouse that is not captured does nothing"
    browser.click("#capture")
    wait_for(lambda: browser.run("return document.pointerLockElement !== null"), "the captured mouse")
    browser.run(
        "const canvas = document.querySelector('canvas');"
        "canvas.dispatchEvent(new MouseEvent('mousemove', {movementX: 5, movementY: -3}));"
        "canvas.dispatchEvent(new WheelEvent('wheel', {deltaY: 120, cancelable: true}));"
        "canvas.dispatchEvent(new MouseEvent('mousedown', {buttons: 2}));"
        "window.dispatchEvent(new MouseEvent('mouseup', {buttons: 0}));"
    )
    assert sorted(log_after(site, 3), key=str) == [("buttons", 0), ("buttons", 2), ("move", 5, -3, 2)]


def test_the_small_terminal(page: tuple[Site, Browser]) -> None:
    site, browser = page

    def text() -> str:
        return str(browser.run("return document.getElementById('serial').textContent"))

    WRITTEN.append(b"one\r\ntwo\x08\x08W\x1b[31mO\x1b[0m\r\n\x1b[?25h\x1b]0;title\x07three\x1b[2D\x1b[K\r\n")
    wait_for(lambda: text().rstrip() == "one\ntWO\nthr", f"the text; there is {text()!r}")
    WRITTEN.append("\x1b[2J\x1b[Hé".encode()[:-1])
    WRITTEN.append("é".encode()[-1:] + b"\x1b[2;3Hx")
    wait_for(lambda: text().rstrip() == "é\n  x", f"the text; there is {text()!r}")
    browser.type("ls" + KEYS["Enter"] + KEYS["ArrowUp"], "#serial")
    assert b"".join(data for _, data in log_after(site, 4)) == b"ls\r\x1b[A"
