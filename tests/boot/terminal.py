"""A person at the terminal of a machine."""

from __future__ import annotations

import os
import pty
import select
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.boot.kit import PATIENCE, ROOT, firmware


class Terminal:
    """`x86emu boot` with a pseudo-terminal for keyboard and screen."""

    def __init__(self, *options: str | Path) -> None:
        self.fd, slave = pty.openpty()
        command = [sys.executable, "-m", "x86emu", "boot", *firmware(), *map(str, options)]
        self.process = subprocess.Popen(command, cwd=ROOT, stdin=slave, stdout=slave, stderr=slave)
        os.close(slave)
        self.seen = ""

    def wait_for(self, text: str) -> str:
        """What came up to and with `text`; fails when it does not come."""
        deadline = time.monotonic() + PATIENCE
        while text not in self.seen:
            if not select.select([self.fd], [], [], max(0.0, deadline - time.monotonic()))[0]:
                pytest.fail(f"{text!r} did not come; there was: {self.seen[-2000:]}")
            try:
                data = os.read(self.fd, 65536)
            except OSError:  # the other side is closed
                data = b""
            if not data:
                pytest.fail(f"the run ended before {text!r} came; there was: {self.seen[-2000:]}")
            self.seen += data.decode("latin-1")
        before, self.seen = self.seen.split(text, 1)
        return before + text

    def type(self, text: str) -> None:
        os.write(self.fd, text.encode())

    def exit_code(self) -> int:
        """Reads on to the end, and waits for the process."""
        try:
            while os.read(self.fd, 65536):
                pass
        except OSError:
            pass
        return self.process.wait(timeout=PATIENCE)

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self.fd)
