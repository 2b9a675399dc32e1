"""--display web in Debian's headless Chromium: types into a booted guest and reads the pixels and the serial line."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.boot.browser import KEYS, Browser, wait_for
from tests.boot.kit import ROOT, firmware, guest, linux64

ROW, COLUMN = 16, 9  # dots of a text cell


class Served:
    """`x86emu boot --display web` and a browser that has its page open."""

    def __init__(self, tmp_path: Path, *options: str | Path) -> None:
        command = [sys.executable, "-m", "x86emu", "boot", *firmware(), *map(str, options), "--display", "web"]
        self.process = subprocess.Popen(
            command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        )
        assert self.process.stderr is not None
        line = self.process.stderr.readline()
        assert "the screen is at http://127.0.0.1:" in line, line
        self.browser = Browser(tmp_path / "profile")
        self.browser.open(line.split()[-1])

    def cell_rows(self) -> NDArray[np.uint8]:
        """The canvas as rows of text cells."""
        pixels = self.browser.pixels()
        assert pixels.shape == (400, 720, 3)
        return pixels.reshape(25, ROW, 720, 3)

    def word(self, row: int, column: int, length: int) -> NDArray[np.uint8]:
        return self.cell_rows()[row, :, column * COLUMN : (column + length) * COLUMN]

    def shows_at(self, row: int) -> bool:
        rows = self.cell_rows()
        return bool((rows[row] > 0).any())

    def close(self) -> None:
        self.browser.close()
        self.process.kill()
        self.process.wait()
        assert self.process.stderr is not None
        self.process.stderr.close()


@pytest.fixture
def served(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Served]:
    served = Served(tmp_path, *request.param())
    yield served
    served.close()


def grub() -> list[str | Path]:
    return ["--cdrom", guest("grub-rescue-cdrom.iso"), "--serial", "none"]


def serial_shell() -> list[str | Path]:
    return [*linux64(), "--append", "console=ttyS0 gk.end=shell", "--serial", "none"]


@pytest.mark.parametrize("served", [grub], indirect=True)
def test_typing_at_grubs_command_line_and_reading_the_pixels(served: Served) -> None:
    browser = served.browser
    wait_for(lambda: browser.run("return document.querySelector('canvas').width") == 720, "a text mode")
    wait_for(lambda: bool((served.cell_rows()[4, :, 20:200] > 0).mean() > 0.5), "the menu's bar over its first line")
    assert served.shows_at(9)
    browser.type("c", "canvas")
    prompt = 8
    wait_for(lambda: not served.shows_at(prompt + 1) and served.shows_at(prompt), "the command line")
    browser.type("echo Hello=42" + KEYS["Enter"], "canvas")
    typed = len("grub> echo ")
    wait_for(lambda: served.shows_at(prompt + 2), "the next prompt")
    answer = served.word(prompt + 1, 0, 8)
    assert (answer > 0).any() and np.array_equal(answer, served.word(prompt, typed, 8))
    assert not np.array_equal(served.word(prompt + 1, 0, 1), served.word(prompt + 1, 1, 1))


@pytest.mark.parametrize("served", [serial_shell], indirect=True)
def test_the_serial_line_beside_the_screen(served: Served) -> None:
    browser = served.browser

    def text() -> str:
        return str(browser.run("return document.getElementById('serial').textContent"))

    wait_for(lambda: "shell; 'poweroff -f' ends" in text(), "the shell")
    browser.type("echo answer $((6 * 7))" + KEYS["Enter"], "#serial")
    wait_for(lambda: "\nanswer 42" in text(), "the answer")
    browser.type("poweroff -f" + KEYS["Enter"], "#serial")
    assert served.process.wait(timeout=100) == 0
    wait_for(lambda: "has ended" in browser.run("return document.getElementById('state').textContent"), "the end")
