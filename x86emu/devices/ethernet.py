"""What Ethernet devices have in common: the cable's other end, checksums, and cutting a large TCP segment.

Frames are without preamble and frame check sequence.  TCP segmentation as the datasheets and Virtio 1.2 (5.1.6.2)
describe it: headers are repeated, lengths, identifications, sequence numbers and flags go along.
"""

from __future__ import annotations

import binascii
import struct
from collections.abc import Callable, Iterator
from typing import Protocol

HEADER = 14
SHORTEST_FRAME, LARGEST_FRAME = 60, 1514
BROADCAST = b"\xff" * 6
ETHERTYPE_IPV4, ETHERTYPE_IPV6, ETHERTYPE_VLAN = 0x0800, 0x86DD, 0x8100
PROTOCOL_TCP, PROTOCOL_UDP = 6, 17
FIN, PSH = 0x01, 0x08


class Cable(Protocol):
    """What a device is plugged into.  Frames that it has no room for stay at the other end.

    A frame with a segment size above 0 is a TCP segment over IPv4 without a checksum that is larger than a frame; a
    device is given one only while its `segments_wanted` says so, and sends one only where `takes_segments`.
    """

    wake: Callable[[], None]
    segments_wanted: Callable[[], bool]

    @property
    def takes_segments(self) -> bool: ...

    def send(self, frame: bytes, segment_size: int = 0) -> None: ...

    def next_frame(self) -> tuple[bytes, int] | None: ...

    def frame_taken(self) -> None: ...

    def discard(self) -> None: ...


def ones_sum(data: bytes | bytearray | memoryview) -> int:
    """One's complement sum of big-endian words, as a remainder; an odd byte at the end is the high one of its word."""
    value = int.from_bytes(data, "big")
    return (value << 8 if len(data) & 1 else value) % 0xFFFF


def checksum(data: bytes | bytearray | memoryview, start: int = 0) -> int:
    """The Internet checksum (RFC 1071)."""
    return 0xFFFF - (ones_sum(data) + start) % 0xFFFF & 0xFFFF


def hash_crc(address: bytes) -> int:
    """The CRC-32 by which Ethernet controllers hash an address, most significant bit first."""
    crc = binascii.crc32(address) ^ 0xFFFF_FFFF  # reflected
    return int(f"{crc:032b}"[::-1], 2)


def segments(
    frame: bytes, network: int, transport: int, header: int, size: int, *, fix_network: bool = True
) -> Iterator[bytes]:
    """Frames of up to `size` payload bytes out of a large one; their checksums are right.

    `network` and `transport` are the offsets of the IP and the TCP header, `header` that of the payload.
    """
    version = frame[network] >> 4
    payload = memoryview(frame)[header:]
    (identification,) = struct.unpack_from(">H", frame, network + 4)
    (sequence,) = struct.unpack_from(">I", frame, transport + 4)
    flags = frame[transport + 13]
    for number, at in enumerate(range(0, max(len(payload), 1), size)):
        part = payload[at : at + size]
        last = at + size >= len(payload)
        piece = bytearray(frame[:header])
        if version == 4:
            struct.pack_into(">H", piece, network + 2, header - network + len(part))
            struct.pack_into(">H", piece, network + 4, identification + number & 0xFFFF)
            if fix_network:
                struct.pack_into(">H", piece, network + 10, 0)
                struct.pack_into(">H", piece, network + 10, checksum(piece[network:transport]))
        else:
            struct.pack_into(">H", piece, network + 4, header - network - 40 + len(part))
        struct.pack_into(">I", piece, transport + 4, sequence + at & 0xFFFF_FFFF)
        if not last:
            piece[transport + 13] = flags & ~(FIN | PSH)
        piece += part
        fill_checksum(piece, network, transport, PROTOCOL_TCP)
        yield bytes(piece)


def fill_checksum(frame: bytearray, network: int, transport: int, protocol: int) -> None:
    """Puts the right TCP or UDP checksum into a frame of which the headers' places are known."""
    if frame[network] >> 4 == 4:
        addresses = frame[network + 12 : network + 20]
    else:
        addresses = frame[network + 8 : network + 40]
    at = transport + (16 if protocol == PROTOCOL_TCP else 6)
    struct.pack_into(">H", frame, at, 0)
    data = memoryview(frame)[transport:]
    start = ones_sum(addresses) + protocol + (len(data) & 0xFFFF) + (len(data) >> 16)
    value = checksum(data, start)
    data.release()
    struct.pack_into(">H", frame, at, value or (0xFFFF if protocol == PROTOCOL_UDP else 0))


def tcp_headers(frame: bytes) -> tuple[int, int, int] | None:
    """Offsets of the IP header, the TCP header and the payload; None where the frame is no whole TCP segment."""
    network = HEADER
    kind = int.from_bytes(frame[12:14], "big")
    if kind == ETHERTYPE_VLAN:
        network, kind = HEADER + 4, int.from_bytes(frame[16:18], "big")
    if kind == ETHERTYPE_IPV4 and len(frame) >= network + 20:
        transport = network + 4 * (frame[network] & 0xF)
        if frame[network] >> 4 != 4 or frame[network + 9] != PROTOCOL_TCP or transport < network + 20:
            return None
    elif kind == ETHERTYPE_IPV6 and len(frame) >= network + 40:
        transport = network + 40
        if frame[network] >> 4 != 6 or frame[network + 6] != PROTOCOL_TCP:
            return None
    else:
        return None
    if len(frame) < transport + 20:
        return None
    payload = transport + (frame[transport + 12] >> 4 << 2)
    if payload < transport + 20 or len(frame) < payload:
        return None
    return network, transport, payload
