"""The other end of a network card's cable, as tests need it."""

from __future__ import annotations

import struct
from collections import deque
from typing import Any

from x86emu.devices.ethernet import checksum, ones_sum

OWN = bytes.fromhex("525400123456")
PEER = bytes.fromhex("52550a000202")
BROADCAST = b"\xff" * 6


class Cable:
    """Keeps what is sent, and gives what a test puts in."""

    def __init__(self, takes_segments: bool = False) -> None:
        self.takes_segments = takes_segments
        self.wake: Any = None
        self.segments_wanted: Any = None
        self.sent: list[tuple[bytes, int]] = []
        self.waiting: deque[tuple[bytes, int]] = deque()

    def send(self, frame: bytes, segment_size: int = 0) -> None:
        self.sent.append((bytes(frame), segment_size))

    def next_frame(self) -> tuple[bytes, int] | None:
        return self.waiting[0] if self.waiting else None

    def frame_taken(self) -> None:
        self.waiting.popleft()

    def discard(self) -> None:
        self.waiting.clear()

    def put(self, frame: bytes, segment_size: int = 0) -> None:
        """A frame for the card."""
        self.waiting.append((frame, segment_size))
        self.wake()


def frame(destination: bytes = OWN, payload: bytes = b"", kind: int = 0x0800) -> bytes:
    return (destination + PEER + struct.pack(">H", kind) + payload).ljust(60, b"\0")


def tcp_frame(payload: bytes, *, whole: bool, flags: int = 0x18, vlan: bool = False, six: bool = False) -> bytes:
    """A TCP segment from the card's side; not `whole`: what software leaves to the card is left out."""
    tcp = struct.pack(">HHIIBBHHH", 1000, 80, 0xFFFFFF00, 7, 0x50, flags, 512, 0, 0)
    if six:
        addresses = bytes(range(32))
        head = struct.pack(">IHBB", 0x60000000, len(tcp) + len(payload), 6, 64) + addresses
    else:
        addresses = bytes((10, 0, 2, 15, 10, 0, 2, 2))
        head = struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(tcp) + len(payload) & 0xFFFF, 9, 0x4000, 64, 6, 0) + addresses
        head = head[:10] + checksum(head).to_bytes(2, "big") + head[12:]
    length = len(tcp) + len(payload)
    start = (ones_sum(addresses) + 6 + length) % 0xFFFF
    value = checksum(tcp + payload, start) if whole else start
    tcp = tcp[:16] + value.to_bytes(2, "big") + tcp[18:]
    tag = b"\x81\x00\x00\x05" if vlan else b""
    return PEER + OWN + tag + (b"\x86\xdd" if six else b"\x08\x00") + head + tcp + payload


def check_tcp(data: bytes) -> tuple[int, int, bytes]:
    """Sequence number, flags and payload of a segment whose lengths and checksums are right."""
    at = 18 if data[12:14] == b"\x81\x00" else 14
    if data[at] >> 4 == 4:
        assert ones_sum(data[at : at + 20]) == 0 and int.from_bytes(data[at + 2 : at + 4], "big") == len(data) - at
        addresses, transport = data[at + 12 : at + 20], at + 20
    else:
        assert int.from_bytes(data[at + 4 : at + 6], "big") == len(data) - at - 40
        addresses, transport = data[at + 8 : at + 40], at + 40
    assert (ones_sum(data[transport:]) + ones_sum(addresses) + 6 + len(data) - transport) % 0xFFFF == 0
    return int.from_bytes(data[transport + 4 : transport + 8], "big"), data[transport + 13], data[transport + 20 :]
