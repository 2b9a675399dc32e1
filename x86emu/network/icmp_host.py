"""Echo requests to other hosts, by the host's ping sockets (Linux, icmp(7)), where its administrator permits them."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING

from x86emu.network.host_sockets import READ
from x86emu.network.packets import (
    ICMP_ECHO,
    ICMP_ECHO_REPLY,
    UNREACHABLE_HOST,
    UNREACHABLE_PROHIBITED,
    Icmp,
    Ipv4,
    unreachable,
)

if TYPE_CHECKING:
    from x86emu.network.user import UserNetwork

FLOWS = 64
OWED = 5_000_000_000
Key = tuple[bytes, bytes, bytes]  # the guest's address, the remote one, the identifier


@dataclass
class _Flow:
    socket: socket.socket
    owed_until: int


class IcmpHost:
    """One socket for each identifier and destination; the kernel gives the socket an identifier of its own."""

    def __init__(self, network: UserNetwork) -> None:
        self.network = network
        self._flows: dict[Key, _Flow] = {}

    def echo(self, packet: Ipv4, message: Icmp) -> None:
        """An echo request of the guest for another host."""
        network = self.network
        key = (packet.source, packet.destination, message.rest[:2])
        flow = self._flows.pop(key, None)
        if flow is None:
            target = network.host_address(packet.destination, 0)
            if target is None:
                network.send_icmp(packet.source, unreachable(packet, UNREACHABLE_HOST))
                return
            try:
                sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC, socket.IPPROTO_ICMP)
            except OSError:
                network.send_icmp(packet.source, unreachable(packet, UNREACHABLE_PROHIBITED))
                return
            while len(self._flows) >= FLOWS:
                network.sockets.remove(self._flows.pop(next(iter(self._flows))).socket)
            network.sockets.add(sock, READ, lambda events: self._ready(key))
            flow = _Flow(sock, 0)
            try:
                sock.connect(target)
            except OSError:
                network.sockets.remove(sock)
                network.send_icmp(packet.source, unreachable(packet, UNREACHABLE_HOST))
                return
        self._flows[key] = flow
        flow.owed_until = network.timers.now() + OWED
        try:
            flow.socket.send(Icmp(ICMP_ECHO, 0, message.rest, message.payload).pack())
        except OSError:
            pass  # lost
        network.work()

    def _ready(self, key: Key) -> None:
        flow = self._flows.get(key)
        if flow is None:
            return
        guest, remote, identifier = key
        try:
            data = flow.socket.recv(65536)
        except OSError:
            return
        flow.owed_until = 0
        if len(data) >= 8 and data[0] == ICMP_ECHO_REPLY:
            reply = Icmp(ICMP_ECHO_REPLY, 0, identifier + data[6:8], data[8:])
            self.network.send_icmp(guest, reply, source=remote)

    @property
    def waiting(self) -> bool:
        now = self.network.timers.now()
        return any(now < flow.owed_until for flow in self._flows.values())

    def close(self) -> None:
        for flow in self._flows.values():
            self.network.sockets.remove(flow.socket)
        self._flows.clear()
