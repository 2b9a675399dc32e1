"""The answer to IPv6 router solicitations (RFC 4861, section 4.2): there is a neighbour here, but no router.

A client that is told so does not wait for IPv6 before it goes on by IPv4; iPXE would take some ten seconds.
"""

from __future__ import annotations

import struct

from x86emu.network.packets import checksum, checksum_is_right, ones_sum

ETHERTYPE = 0x86DD
HEADER = 40
PROTOCOL_ICMPV6 = 58
SOLICITATION, ADVERTISEMENT = 133, 134
HOP_LIMIT = 255  # of all neighbour discovery: it has not been forwarded
ALL_NODES, ALL_NODES_MAC = b"\xff\x02" + bytes(13) + b"\x01", bytes.fromhex("333300000001")
SOURCE_ADDRESS = 1  # option: the sender's hardware address


def link_local(mac: bytes) -> bytes:
    """The link-local address of a hardware address (RFC 4291, appendix A)."""
    return b"\xfe\x80" + bytes(6) + bytes((mac[0] ^ 2,)) + mac[1:3] + b"\xff\xfe" + mac[3:]


def _start(source: bytes, destination: bytes, length: int) -> int:
    return ones_sum(source + destination + struct.pack(">II", length, PROTOCOL_ICMPV6))


def answer(packet: bytes, mac: bytes) -> bytes | None:
    """The packet that a solicitation is answered with, to all nodes; None for any other packet."""
    if len(packet) < HEADER + 8:
        return None
    version, length, protocol, hops, source, destination = struct.unpack_from(">IHBB16s16s", packet)
    message = packet[HEADER : HEADER + length]
    if version >> 28 != 6 or protocol != PROTOCOL_ICMPV6 or hops != HOP_LIMIT or len(message) != length or length < 8:
        return None
    if message[:2] != bytes((SOLICITATION, 0)) or not checksum_is_right(message, _start(source, destination, length)):
        return None
    own = link_local(mac)
    # Hop limit, flags, a router's lifetime of 0, reachable time and retransmission timer: nothing is said.
    reply = struct.pack(">BBHBBHII", ADVERTISEMENT, 0, 0, 0, 0, 0, 0, 0) + bytes((SOURCE_ADDRESS, 1)) + mac
    value = checksum(reply, _start(own, ALL_NODES, len(reply)))
    reply = reply[:2] + value.to_bytes(2, "big") + reply[4:]
    return struct.pack(">IHBB", 6 << 28, len(reply), PROTOCOL_ICMPV6, HOP_LIMIT) + own + ALL_NODES + reply
