"""Frames and packets as bytes: Ethernet, ARP (RFC 826), IPv4 (RFC 791), UDP (RFC 768), TCP (RFC 9293), ICMP (RFC 792).

Parsers give None for whatever is malformed: too short, a length beyond the end, a wrong checksum.  Addresses are bytes.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

ETHERTYPE_IPV4, ETHERTYPE_ARP = 0x0800, 0x0806
PROTOCOL_ICMP, PROTOCOL_TCP, PROTOCOL_UDP = 1, 6, 17
ETHERNET_HEADER, IPV4_HEADER, UDP_HEADER, TCP_HEADER = 14, 20, 8, 20
SHORTEST_FRAME = 60  # without the frame check sequence
MTU = 1500
LARGEST_PACKET = 65535
BROADCAST = b"\xff" * 6
NO_ADDRESS = bytes(4)

ARP_REQUEST, ARP_REPLY = 1, 2
MORE_FRAGMENTS, DONT_FRAGMENT, OFFSET_MASK = 0x2000, 0x4000, 0x1FFF

ICMP_ECHO_REPLY, ICMP_UNREACHABLE, ICMP_ECHO, ICMP_TIME_EXCEEDED = 0, 3, 8, 11
UNREACHABLE_HOST, UNREACHABLE_PORT, UNREACHABLE_PROHIBITED = 1, 3, 13

FIN, SYN, RST, PSH, ACK = 0x01, 0x02, 0x04, 0x08, 0x10
OPTION_END, OPTION_NOP, OPTION_MSS, OPTION_WINDOW_SCALE = 0, 1, 2, 3


def ones_sum(data: bytes) -> int:
    """The one's complement sum of big-endian words, where 0 and FFFFh are the same zero: it is a remainder."""
    if len(data) & 1:
        data = bytes(data) + b"\0"
    return int.from_bytes(data, "big") % 0xFFFF


def checksum(data: bytes, start: int = 0) -> int:
    """The Internet checksum (RFC 1071) of data whose checksum field is 0; `start` is the pseudo-header's sum."""
    return 0xFFFF - (ones_sum(data) + start) % 0xFFFF & 0xFFFF


def checksum_is_right(data: bytes, start: int = 0) -> bool:
    """Whether data with its checksum sums up to zero."""
    return (ones_sum(data) + start) % 0xFFFF == 0


def pseudo_header_sum(source: bytes, destination: bytes, protocol: int, length: int) -> int:
    """What TCP and UDP checksums begin with."""
    return ones_sum(source + destination + struct.pack(">HH", protocol, length))


@dataclass(slots=True)
class Arp:
    """An ARP message for IPv4 over Ethernet."""

    operation: int
    sender_mac: bytes
    sender: bytes
    target_mac: bytes
    target: bytes

    def pack(self) -> bytes:
        head = struct.pack(">HHBBH", 1, ETHERTYPE_IPV4, 6, 4, self.operation)
        return head + self.sender_mac + self.sender + self.target_mac + self.target


def parse_arp(data: bytes) -> Arp | None:
    if len(data) < 28:
        return None
    hardware, protocol, hardware_bytes, protocol_bytes, operation = struct.unpack_from(">HHBBH", data)
    if (hardware, protocol, hardware_bytes, protocol_bytes) != (1, ETHERTYPE_IPV4, 6, 4):
        return None
    return Arp(operation, data[8:14], data[14:18], data[18:24], data[24:28])


@dataclass(slots=True)
class Ipv4:
    """An IPv4 packet or fragment without its options; `fragment` is the flags-and-offset word."""

    source: bytes
    destination: bytes
    protocol: int
    payload: bytes
    ttl: int = 64
    identification: int = 0
    fragment: int = DONT_FRAGMENT
    header: bytes = b""  # as it came, for the quotation in an ICMP error

    def pack(self) -> bytes:
        length = IPV4_HEADER + len(self.payload)
        head = struct.pack(
            ">BBHHHBBH4s4s", 0x45, 0, length, self.identification, self.fragment, self.ttl, self.protocol, 0,
            self.source, self.destination,
        )  # fmt: skip
        return head[:10] + checksum(head).to_bytes(2, "big") + head[12:] + self.payload


def parse_ipv4(data: bytes) -> Ipv4 | None:
    if len(data) < IPV4_HEADER:
        return None
    first, _, length, identification, fragment, ttl, protocol, _, source, destination = struct.unpack_from(
        ">BBHHHBBH4s4s", data
    )
    header = 4 * (first & 0xF)
    if first >> 4 != 4 or header < IPV4_HEADER or not header <= length <= len(data):
        return None
    if not checksum_is_right(data[:header]):
        return None
    return Ipv4(
        source, destination, protocol, data[header:length], ttl, identification, fragment, header=data[:header]
    )


@dataclass(slots=True)
class Udp:
    source_port: int
    destination_port: int
    payload: bytes

    def pack(self, source: bytes, destination: bytes) -> bytes:
        length = UDP_HEADER + len(self.payload)
        data = struct.pack(">HHHH", self.source_port, self.destination_port, length, 0) + self.payload
        value = checksum(data, pseudo_header_sum(source, destination, PROTOCOL_UDP, length)) or 0xFFFF
        return data[:6] + value.to_bytes(2, "big") + self.payload


def parse_udp(packet: Ipv4) -> Udp | None:
    data = packet.payload
    if len(data) < UDP_HEADER:
        return None
    source, destination, length, check = struct.unpack_from(">HHHH", data)
    if not UDP_HEADER <= length <= len(data):
        return None
    data = data[:length]
    start = pseudo_header_sum(packet.source, packet.destination, PROTOCOL_UDP, length)
    if check and not checksum_is_right(data, start):
        return None
    return Udp(source, destination, data[UDP_HEADER:])


@dataclass(slots=True)
class Tcp:
    """A segment; `mss` and `window_scale` are options of a SYN, None where they are not given."""

    source_port: int
    destination_port: int
    sequence: int
    acknowledgement: int
    flags: int
    window: int
    payload: bytes = b""
    mss: int | None = None
    window_scale: int | None = None

    @property
    def length(self) -> int:
        """How much of the sequence space it takes."""
        return len(self.payload) + (self.flags & SYN > 0) + (self.flags & FIN > 0)

    def pack(self, source: bytes, destination: bytes, *, whole: bool = True) -> bytes:
        """The bytes; `whole` False leaves in the checksum what hardware starts from: the pseudo-header's sum."""
        options = b""
        if self.mss is not None:
            options += struct.pack(">BBH", OPTION_MSS, 4, self.mss)
        if self.window_scale is not None:
            options += struct.pack(">BBBB", OPTION_NOP, OPTION_WINDOW_SCALE, 3, self.window_scale)
        header = TCP_HEADER + len(options)
        start = pseudo_header_sum(source, destination, PROTOCOL_TCP, header + len(self.payload))
        head = struct.pack(
            ">HHIIBBHHH", self.source_port, self.destination_port, self.sequence, self.acknowledgement, header << 2,
            self.flags, self.window, 0, 0,
        ) + options  # fmt: skip
        value = checksum(head + self.payload, start) if whole else start
        return b"".join((head[:16], value.to_bytes(2, "big"), head[18:], self.payload))


def parse_tcp(packet: Ipv4, *, checked: bool = True) -> Tcp | None:
    """`checked` False for a segment whose checksum a device would have filled in later."""
    data = packet.payload
    if len(data) < TCP_HEADER:
        return None
    source, destination, sequence, acknowledgement, offset, flags, window = struct.unpack_from(">HHIIBBH", data)
    header = offset >> 4 << 2
    if not TCP_HEADER <= header <= len(data):
        return None
    start = pseudo_header_sum(packet.source, packet.destination, PROTOCOL_TCP, len(data))
    if checked and not checksum_is_right(data, start):
        return None
    segment = Tcp(source, destination, sequence, acknowledgement, flags, window, data[header:])
    if flags & SYN:
        _parse_options(segment, data[TCP_HEADER:header])
    return segment


def _parse_options(segment: Tcp, options: bytes) -> None:
    at = 0
    while at < len(options) and options[at] != OPTION_END:
        if options[at] == OPTION_NOP:
            at += 1
            continue
        if at + 1 >= len(options):
            return
        length = options[at + 1]
        if length < 2 or at + length > len(options):
            return
        if options[at] == OPTION_MSS and length == 4:
            segment.mss = int.from_bytes(options[at + 2 : at + 4], "big")
        elif options[at] == OPTION_WINDOW_SCALE and length == 3:
            segment.window_scale = min(options[at + 2], 14)  # RFC 7323, section 2.3
        at += length


@dataclass(slots=True)
class Icmp:
    """A message; `rest` is the second word of the header, of an echo the identifier and the sequence number."""

    kind: int
    code: int
    rest: bytes
    payload: bytes = b""

    def pack(self) -> bytes:
        data = struct.pack(">BBH4s", self.kind, self.code, 0, self.rest) + self.payload
        return data[:2] + checksum(data).to_bytes(2, "big") + data[4:]


def parse_icmp(packet: Ipv4) -> Icmp | None:
    data = packet.payload
    if len(data) < 8 or not checksum_is_right(data):
        return None
    return Icmp(data[0], data[1], data[4:8], data[8:])


def unreachable(packet: Ipv4, code: int, kind: int = ICMP_UNREACHABLE) -> Icmp:
    """The error that quotes a packet's header and its first eight bytes (RFC 792)."""
    return Icmp(kind, code, bytes(4), packet.header + packet.payload[:8])
