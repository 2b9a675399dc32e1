"""The monitor by sockets, and at a terminal behind Ctrl-A c, of a whole `x86emu boot`."""

from __future__ import annotations

import os
import pty
import select
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.machine import tiny_bios
from x86emu.errors import UserInputError
from x86emu.machine import Machine
from x86emu.monitor.session import PROMPT, open_monitor

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def bios(tmp_path: Path) -> Path:
    return tiny_bios.write(tmp_path / "bios.bin", tiny_bios.say("running\r\n"), tiny_bios.FOREVER)


class Peer:
    """A client that looks until it has seen something."""

    def __init__(self, read: int, write: int) -> None:
        self.descriptors = read, write
        self.seen = b""

    def until(self, text: str, poll: object = None) -> str:
        ends = time.monotonic() + 20
        while text.encode() not in self.seen:
            assert time.monotonic() < ends, self.seen
            if poll is not None:
                poll()  # type: ignore[operator]
            if select.select([self.descriptors[0]], [], [], 0.01)[0]:
                data = os.read(self.descriptors[0], 4096)
                assert data, self.seen
                self.seen += data
        before, _, self.seen = self.seen.partition(text.encode())
        return before.decode()

    def say(self, text: str) -> None:
        os.write(self.descriptors[1], text.encode())


def test_two_clients_at_a_unix_socket(bios: Path, tmp_path: Path) -> None:
    path = tmp_path / "monitor"
    with Machine(bios, memory="4M") as machine:
        service = open_monitor(machine, f"unix:{path}")
        machine.services.append(service)
        assert path.stat().st_mode & 0o077 == 0  # for this user only
        sockets = [socket.socket(socket.AF_UNIX) for _ in range(2)]
        peers = []
        for one in sockets:
            one.connect(str(path))
            peers.append(Peer(one.fileno(), one.fileno()))
        for peer in peers:
            peer.until(PROMPT, service.poll)
        peers[0].say("info sta")
        peers[1].say("info clock\n")
        peers[1].until("2025-01-01", service.poll)
        peers[0].say("tus\nfrob\r\n")
        assert "running" in peers[0].until(PROMPT, service.poll)
        assert peers[0].until(PROMPT, service.poll).strip() == "There is no command 'frob'; help lists the commands."
        sockets[0].close()
        peers[1].until(PROMPT, service.poll)
        peers[1].say("stop\n")
        peers[1].until(PROMPT, service.poll)
        assert machine.paused
        sockets[1].close()
        service.poll()
    assert not path.exists()


def test_a_socket_that_was_left_is_taken_over(bios: Path, tmp_path: Path) -> None:
    path = tmp_path / "monitor"
    left = socket.socket(socket.AF_UNIX)
    left.bind(str(path))
    left.close()
    with Machine(bios, memory="4M") as machine:
        machine.services.append(open_monitor(machine, f"unix:{path}"))


@pytest.mark.parametrize(
    ("place", "words"),
    [("pigeon", "is no place for a monitor"), ("tcp:host", "has no port number"), ("unix:/no/where", "cannot listen")],
)
def test_no_place(bios: Path, place: str, words: str) -> None:
    with Machine(bios, memory="4M") as machine, pytest.raises(UserInputError, match=words):
        open_monitor(machine, place)


def test_ctrl_a_c_at_a_terminal(bios: Path) -> None:
    master, slave = pty.openpty()
    command = [sys.executable, "-m", "x86emu", "boot", "--bios", str(bios), "--memory", "4M", "--timeout", "60"]
    process = subprocess.Popen(command, cwd=ROOT, stdin=slave, stdout=slave, stderr=subprocess.PIPE)
    os.close(slave)
    peer = Peer(master, master)
    try:
        peer.until("running")
        peer.say("\x01h")
        peer.until("Ctrl-A c  monitor, and back")
        peer.say("\x01c")
        peer.until(PROMPT)
        peer.say("info cpx\x7f\x7fpus\r")
        peer.until("* CPU #0: f000:")
        peer.say("stop\r\x1b[A\x1b[Ainfo status\x01a\x0b\x0binfo status\r")
        peer.until("paused")
        peer.say("cont\r\x01cx\x01c")
        peer.until(PROMPT)
        peer.say("quit\r")
        assert process.wait(timeout=20) == 8
    finally:
        process.kill()
        process.stderr.close()  # type: ignore[union-attr]
        os.close(master)


def test_a_script_at_stdio(bios: Path) -> None:
    command = [sys.executable, "-m", "x86emu", "boot", "--bios", str(bios), "--memory", "4M", "--monitor", "stdio"]
    script = b"info version\nquit\n"
    done = subprocess.run(command, cwd=ROOT, input=script, capture_output=True, timeout=60, check=False)
    assert done.returncode == 8, done
    assert b"x86emu monitor" in done.stdout and done.stdout.count(PROMPT.encode()) >= 2
    assert b"running" not in done.stdout  # the serial port is not there then


def test_stdio_once_only(bios: Path) -> None:
    command = [sys.executable, "-m", "x86emu", "boot", "--bios", str(bios), "--monitor", "stdio", "--serial", "stdio"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, timeout=60, check=False)
    assert done.returncode == 2 and b"only one of them can be stdio" in done.stderr
