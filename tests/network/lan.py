"""A guest on a user-mode network, as far as tests need one: it builds frames by hand and reads what comes back."""

from __future__ import annotations

import select
import socket
import struct
from collections.abc import Callable
from typing import Any

from x86emu.bus.clock import Clock
from x86emu.network.packets import (
    ACK,
    ARP_REPLY,
    ARP_REQUEST,
    ETHERTYPE_ARP,
    ETHERTYPE_IPV4,
    PROTOCOL_ICMP,
    PROTOCOL_TCP,
    PROTOCOL_UDP,
    SYN,
    Arp,
    Icmp,
    Ipv4,
    Tcp,
    Udp,
    parse_arp,
    parse_icmp,
    parse_ipv4,
    parse_tcp,
    parse_udp,
)
from x86emu.network.user import GUEST, MAC, ROUTER, UserConfig, UserNetwork

GUEST_MAC = bytes.fromhex("525400123456")
BROADCAST = b"\xff" * 6


class Lan:
    """A network with one guest that knows its address already."""

    def __init__(self, **config: Any) -> None:
        self.clock = Clock()
        self.network = UserNetwork(UserConfig(**config), self.clock)
        self.polls_wanted = 0
        self.network.host_has_work = self._work

    def _work(self) -> None:
        self.polls_wanted += 1

    # frames

    def send(self, kind: int, payload: bytes, to: bytes = MAC, segment_size: int = 0) -> None:
        self.network.send(to + GUEST_MAC + struct.pack(">H", kind) + payload, segment_size)

    def frames(self) -> list[bytes]:
        """All that has come for the guest."""
        self.clock.advance(250_000)
        result = []
        while (waiting := self.network.next_frame()) is not None:
            result.append(waiting[0])
            self.network.frame_taken()
        return result

    def packets(self) -> list[Ipv4]:
        packets = [parse_ipv4(frame[14:]) for frame in self.frames() if frame[12:14] == b"\x08\x00"]
        assert None not in packets
        return [packet for packet in packets if packet is not None]

    def wait(self, condition: Callable[[], Any]) -> Any:
        """Lets the host's side go on until there is something; fails after five seconds without."""
        for _ in range(500):
            value = condition()
            if value:
                return value
            select.select(list(self.network.descriptors()), [], [], 0.01)
            self.network.poll()
        raise AssertionError("nothing came")

    # ARP

    def arp(self, target: bytes) -> Arp | None:
        self.send(ETHERTYPE_ARP, Arp(ARP_REQUEST, GUEST_MAC, GUEST, bytes(6), target).pack(), BROADCAST)
        replies = [parse_arp(frame[14:]) for frame in self.frames()]
        return replies[0] if replies else None

    def answer_arp(self) -> None:
        """Answers who-has for the guest's address."""
        for frame in self.frames():
            message = parse_arp(frame[14:]) if frame[12:14] == b"\x08\x06" else None
            if message is not None and message.target == GUEST:
                assert message.operation == ARP_REQUEST and frame[:6] == BROADCAST
                self.send(ETHERTYPE_ARP, Arp(ARP_REPLY, GUEST_MAC, GUEST, message.sender_mac, message.sender).pack())

    # IPv4

    def packet(
        self, protocol: int, payload: bytes, to: bytes = ROUTER, *, source: bytes = GUEST, **more: Any
    ) -> None:
        self.send(ETHERTYPE_IPV4, Ipv4(source, to, protocol, payload, **more).pack())

    def udp(self, to: bytes, port: int, data: bytes, *, own: int = 4000, source: bytes = GUEST) -> None:
        self.packet(PROTOCOL_UDP, Udp(own, port, data).pack(source, to), to, source=source)

    def datagrams(self) -> list[tuple[bytes, Udp]]:
        """(source address, datagram) of all that has come."""
        found = []
        for packet in self.packets():
            if packet.protocol == PROTOCOL_UDP:
                datagram = parse_udp(packet)
                assert datagram is not None
                found.append((packet.source, datagram))
        return found

    def messages(self) -> list[tuple[bytes, Icmp]]:
        found = []
        for packet in self.packets():
            if packet.protocol == PROTOCOL_ICMP:
                message = parse_icmp(packet)
                assert message is not None
                found.append((packet.source, message))
        return found


class Peer:
    """The guest's end of one TCP connection; acknowledges nothing by itself."""

    def __init__(
        self, lan: Lan, port: int, *, own: int = 5000, to: bytes = ROUTER, window: int = 65535, scale: int | None = None
    ) -> None:
        self.lan, self.port, self.own, self.to = lan, port, own, to
        self.sequence, self.expected, self.window, self.scale = 1000, 0, window, scale
        self.received = b""

    def send(self, flags: int, payload: bytes = b"", **more: Any) -> None:
        segment = Tcp(self.own, self.port, self.sequence, self.expected, flags, self.window, payload, **more)
        self.lan.packet(PROTOCOL_TCP, segment.pack(GUEST, self.to), self.to)
        self.sequence += segment.length

    def segments(self) -> list[Tcp]:
        found = []
        for packet in self.lan.packets():
            if packet.protocol == PROTOCOL_TCP:
                segment = parse_tcp(packet)
                assert segment is not None
                if segment.destination_port == self.own:
                    found.append(segment)
        return found

    def take(self) -> list[Tcp]:
        """What came, counted as received where it is in order, and acknowledged."""
        found = self.segments()
        for segment in found:
            if segment.sequence == self.expected and not segment.flags & SYN:
                self.received += segment.payload
                self.expected = segment.sequence + segment.length
        if any(segment.length for segment in found):
            self.send(ACK)
        return found

    def open(self) -> Tcp:
        """The three-way handshake; our SYN's answer."""
        self.send(SYN, mss=1460, window_scale=self.scale)
        (answer,) = self.lan.wait(self.segments)
        if answer.flags == SYN | ACK:
            assert answer.acknowledgement == self.sequence
            self.expected = answer.sequence + 1
            self.send(ACK)
        return answer


def server() -> socket.socket:
    """A listening socket on the host's loopback."""
    return socket.create_server(("127.0.0.1", 0))


def accept(listener: socket.socket) -> socket.socket:
    listener.settimeout(5)
    connection, _ = listener.accept()
    connection.settimeout(5)
    return connection
