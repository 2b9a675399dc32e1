"""IPv4 fragments (RFC 791, section 3.2): putting them together, and cutting what is larger than the MTU.

A datagram of which parts overlap is given up (as RFC 5722 has it for IPv6).  Only a few unfinished ones are kept, for
`LIFETIME` nanoseconds of virtual time.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from x86emu.network.packets import IPV4_HEADER, LARGEST_PACKET, MORE_FRAGMENTS, MTU, OFFSET_MASK, Ipv4

LIFETIME = 30_000_000_000
UNFINISHED = 16
Key = tuple[bytes, bytes, int, int]


@dataclass
class _Datagram:
    expires: int
    parts: dict[int, bytes] = field(default_factory=dict)
    first: Ipv4 | None = None
    length: int | None = None


class Reassembly:
    """Collects fragments."""

    def __init__(self) -> None:
        self._unfinished: dict[Key, _Datagram] = {}

    def add(self, packet: Ipv4, now: int) -> Ipv4 | None:
        """The whole packet, once its last fragment has come; a packet that is none is given back."""
        more, offset = packet.fragment & MORE_FRAGMENTS, 8 * (packet.fragment & OFFSET_MASK)
        if not more and not offset:
            return packet
        key = (packet.source, packet.destination, packet.protocol, packet.identification)
        for old in [old for old, datagram in self._unfinished.items() if datagram.expires <= now]:
            del self._unfinished[old]
        datagram = self._unfinished.get(key)
        if datagram is None:
            while len(self._unfinished) >= UNFINISHED:
                del self._unfinished[next(iter(self._unfinished))]
            datagram = self._unfinished[key] = _Datagram(now + LIFETIME)
        end = offset + len(packet.payload)
        clash = any(
            offset < at + len(part) and at < end and (at, part) != (offset, packet.payload)
            for at, part in datagram.parts.items()
        )
        wrong = not packet.payload or more and len(packet.payload) % 8 or end > LARGEST_PACKET - IPV4_HEADER
        if wrong or clash or datagram.length is not None and end > datagram.length:
            del self._unfinished[key]
            return None
        datagram.parts[offset] = packet.payload
        if not offset:
            datagram.first = packet
        if not more:
            datagram.length = end
        if datagram.first is None or sum(map(len, datagram.parts.values())) != datagram.length:
            return None
        del self._unfinished[key]
        return replace(datagram.first, payload=b"".join(part for _, part in sorted(datagram.parts.items())), fragment=0)


def cut(packet: Ipv4, mtu: int = MTU) -> Iterator[Ipv4]:
    """The packet itself, or fragments of it that fit."""
    room = mtu - IPV4_HEADER
    if len(packet.payload) <= room:
        yield packet
        return
    room -= room % 8
    for at in range(0, len(packet.payload), room):
        more = MORE_FRAGMENTS if at + room < len(packet.payload) else 0
        yield replace(packet, payload=packet.payload[at : at + room], fragment=more | at // 8)
