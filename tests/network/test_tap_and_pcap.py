"""The tap back end against a pair of sockets, its refusals, and the dump's bytes."""

from __future__ import annotations

import os
import socket
import struct
from datetime import datetime
from pathlib import Path

import pytest

from x86emu.bus.clock import Clock
from x86emu.errors import UserInputError
from x86emu.network import tap
from x86emu.network.backend import QUEUE_FRAMES
from x86emu.network.pcap import PcapFile
from x86emu.network.tap import TapNetwork


@pytest.fixture
def pair(monkeypatch):
    """A tap whose interface is one of two sockets that keep frames apart; and the other one."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.setblocking(False)
    monkeypatch.setattr(tap.os, "open", lambda path, flags: os.dup(ours.fileno()))
    monkeypatch.setattr(tap.fcntl, "ioctl", lambda descriptor, code, request: b"tap3".ljust(16, b"\0") + request[16:])
    network = TapNetwork("", Clock())
    monkeypatch.undo()
    yield network, theirs
    network.close()
    ours.close()
    theirs.close()


def test_frames_go_both_ways(pair):
    network, theirs = pair
    assert network.name == "tap3" and network.waiting
    network.send(b"to the host" + bytes(60))
    assert theirs.recv(2000) == b"to the host" + bytes(60)
    theirs.send(b"x" * 100)
    assert network.next_frame() is None  # at polls only
    assert not network.poll() and network.next_frame() == (b"x" * 100, 0)


def test_a_guest_that_takes_nothing_is_not_flooded(pair):
    network, theirs = pair
    theirs.setblocking(False)
    for _ in range(3 * QUEUE_FRAMES):
        try:
            theirs.send(bytes(60))
        except BlockingIOError:
            pass
        network.poll()
    assert len(network._queue) == QUEUE_FRAMES and network.descriptors() == () and network.dropped == 0


def test_an_interface_that_is_gone(pair):
    network, theirs = pair
    theirs.close()
    network.send(bytes(60))
    network.poll()
    assert network.dropped == 1
    network.close()
    network.close()


def test_refusals(monkeypatch):
    with pytest.raises(UserInputError, match="up to 15 characters"):
        TapNetwork("a" * 16, Clock())
    monkeypatch.setattr(tap, "DEVICE", "/nonexistent/tun")
    with pytest.raises(UserInputError, match="--net tap,ifname=tap0: the host gives no tap interface .No such file"):
        TapNetwork("tap0", Clock())


def test_the_dump(tmp_path):
    path = tmp_path / "dump"
    file = PcapFile(path, datetime(2025, 1, 1))
    file.record(b"first frame", 1_500_000_007)
    file.record(bytes(1514), 2_000_000_000)
    file.close()
    file.record(b"too late", 3)
    file.close()
    data = path.read_bytes()
    assert struct.unpack_from("<IHHiIII", data) == (0xA1B23C4D, 2, 4, 0, 0, 262144, 1)
    assert struct.unpack_from("<IIII", data, 24) == (1735689601, 500_000_007, 11, 11) and data[40:51] == b"first frame"
    assert struct.unpack_from("<IIII", data, 51) == (1735689602, 0, 1514, 1514) and len(data) == 24 + 27 + 16 + 1514


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="this host has no /dev/full")
def test_a_full_disk(capsys):
    file = PcapFile(Path("/dev/full"), datetime(2025, 1, 1))
    with pytest.raises(UserInputError, match="--pcap /dev/full: could not be written to its end .No space left"):
        for _ in range(200):
            file.record(bytes(1514), 0)
    file.close()
    assert "No space left" in capsys.readouterr().err
