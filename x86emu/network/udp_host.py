"""UDP between the guest and the host's sockets: one socket for each pair of ends, and ports forwarded to the guest."""

from __future__ import annotations

import errno
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING

from x86emu.network.host_sockets import READ
from x86emu.network.packets import (
    UNREACHABLE_HOST,
    UNREACHABLE_PORT,
    Ipv4,
    Udp,
    unreachable,
)

if TYPE_CHECKING:
    from x86emu.network.user import UserNetwork

FLOWS, PEERS = 256, 256
OWED = 5_000_000_000  # how long an answer is waited for, in virtual nanoseconds
DATAGRAMS_PER_POLL = 64
LARGEST_DATAGRAM = 65507
FIRST_PORT, PORTS = 49152, 16384
Key = tuple[bytes, int, bytes, int]  # the guest's address and port, the remote one's


@dataclass
class _Flow:
    socket: socket.socket
    packet: Ipv4  # the last one, for an ICMP error
    owed_until: int
    answered: bool = False


class UdpHost:
    """All UDP flows of a user-mode network; the oldest makes room for a new one."""

    def __init__(self, network: UserNetwork) -> None:
        self.network = network
        self.flows: dict[Key, _Flow] = {}
        self._forwards: dict[tuple[bytes, int], _Forward] = {}
        self._sockets: list[socket.socket] = []

    def packet(self, packet: Ipv4, datagram: Udp) -> None:
        """A datagram of the guest for another host."""
        network = self.network
        forward = self._forwards.get((packet.source, datagram.source_port))
        if forward is not None and forward.answer(packet.destination, datagram):
            return
        key = (packet.source, datagram.source_port, packet.destination, datagram.destination_port)
        flow = self.flows.pop(key, None)
        if flow is None:
            flow = self._open(key, packet)
            if flow is None:
                return
        self.flows[key] = flow  # the youngest
        flow.packet, flow.owed_until, flow.answered = packet, network.timers.now() + OWED, False
        try:
            flow.socket.send(datagram.payload)
        except OSError:
            pass  # what is wrong is seen at the next poll; a full buffer loses it, as UDP may
        network.work()

    def unanswered(self, key: Key) -> bool:
        """Whether a flow waits for its answer."""
        flow = self.flows.get(key)
        return flow is not None and not flow.answered

    def drop(self, key: Key) -> None:
        """Ends a flow."""
        flow = self.flows.pop(key, None)
        if flow is not None:
            self.network.sockets.remove(flow.socket)

    def _open(self, key: Key, packet: Ipv4) -> _Flow | None:
        network = self.network
        target = network.host_address(key[2], key[3])
        if target is None:
            network.send_icmp(packet.source, unreachable(packet, UNREACHABLE_HOST))
            return None
        while len(self.flows) >= FLOWS:
            self.drop(next(iter(self.flows)))
        try:
            sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        except OSError:
            return None
        try:
            sock.connect(target)
        except (OSError, OverflowError):
            sock.close()
            network.send_icmp(packet.source, unreachable(packet, UNREACHABLE_HOST))
            return None
        network.sockets.add(sock, READ, lambda events: self._ready(key))
        return _Flow(sock, packet, 0)

    def _ready(self, key: Key) -> None:
        flow = self.flows.get(key)
        if flow is None:
            return
        guest, guest_port, remote, remote_port = key
        for _ in range(DATAGRAMS_PER_POLL):
            try:
                data = flow.socket.recv(LARGEST_DATAGRAM + 1)
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno == errno.ECONNREFUSED:
                    self.network.send_icmp(flow.packet.source, unreachable(flow.packet, UNREACHABLE_PORT))
                flow.answered = True
                return
            flow.answered = True
            self.network.send_udp(remote, guest, Udp(remote_port, guest_port, data))

    # --- forwards

    def listen(self, host: str, port: int, guest: bytes, guest_port: int) -> tuple[str, int]:
        """Forwards datagrams for a port of the host; where it listens.  OSError where it cannot."""
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        self._sockets.append(sock)
        sock.bind((host, port))
        forward = _Forward(self.network, sock, guest, guest_port)
        self._forwards[guest, guest_port] = forward
        self.network.sockets.add(sock, READ, forward.ready)
        address, number = sock.getsockname()[:2]
        return str(address), int(number)

    @property
    def waiting(self) -> bool:
        now = self.network.timers.now()
        return bool(self._sockets) or any(
            not flow.answered and now < flow.owed_until for flow in self.flows.values()
        )

    def close(self) -> None:
        for key in list(self.flows):
            self.drop(key)
        for sock in self._sockets:
            self.network.sockets.remove(sock)
        self._sockets.clear()
        self._forwards.clear()


class _Forward:
    """A port of the host for datagrams to the guest; it remembers who sent, so that answers find back."""

    def __init__(self, network: UserNetwork, sock: socket.socket, guest: bytes, guest_port: int) -> None:
        self.network, self.socket, self.guest, self.guest_port = network, sock, guest, guest_port
        self._peers: dict[tuple[bytes, int], tuple[str, int]] = {}
        self._ends: dict[tuple[str, int], tuple[bytes, int]] = {}
        self._counter = 0

    def _end_of(self, peer: tuple[str, int]) -> tuple[bytes, int]:
        """The address and port by which the guest sees a peer."""
        if peer not in self._ends:
            while len(self._ends) >= PEERS:
                oldest = next(iter(self._ends))
                del self._peers[self._ends.pop(oldest)]
            end = (self.network.address_of_peer(peer[0]), peer[1])
            while end in self._peers:
                self._counter += 1
                end = (end[0], FIRST_PORT + self._counter % PORTS)
            self._ends[peer], self._peers[end] = end, peer
        return self._ends[peer]

    def ready(self, events: int) -> None:
        for _ in range(DATAGRAMS_PER_POLL):
            try:
                data, peer = self.socket.recvfrom(LARGEST_DATAGRAM + 1)
            except BlockingIOError:
                return
            except OSError:
                continue  # an ICMP error for an answer of the guest
            source, port = self._end_of(peer)
            self.network.send_udp(source, self.guest, Udp(port, self.guest_port, data))

    def answer(self, destination: bytes, datagram: Udp) -> bool:
        """Sends the guest's datagram back to where one came from; False where none came from there."""
        peer = self._peers.get((destination, datagram.destination_port))
        if peer is None:
            return False
        try:
            self.socket.sendto(datagram.payload, peer)
        except OSError:
            pass  # lost, as UDP may be
        return True
