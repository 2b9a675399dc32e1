"""TCP between the guest and the host's sockets: connections that the guest opens, and those forwarded to it."""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from x86emu.network.host_sockets import READ, WRITE, HostSockets
from x86emu.network.packets import ACK, RST, SYN, Ipv4, Tcp, parse_tcp
from x86emu.network.tcp import State, TcpConnection

if TYPE_CHECKING:
    from x86emu.network.user import UserNetwork

CONNECTIONS = 1024
TO_HOST = 512 << 10  # bytes of the guest that wait for the host
ACCEPTS_PER_POLL = 16
FIRST_PORT, PORTS = 49152, 16384
Key = tuple[bytes, int, bytes, int]  # the guest's address and port, the remote one's


class HostStream:
    """A connected socket of the host as the other end of a connection.  The socket is touched at polls only."""

    def __init__(self, sock: socket.socket, sockets: HostSockets, work: Callable[[], None], *, connected: bool) -> None:
        self.connection: TcpConnection | None = None
        self._socket, self._sockets, self._work = sock, sockets, work
        self._connected = connected
        self._outgoing = bytearray()
        self._guest_ended = self._shut = False
        self._at_end = False
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sockets.add(sock, READ if connected else WRITE, self._ready)

    @property
    def owes(self) -> bool:
        """Whether the host may have something to say."""
        return not self._at_end

    def room(self) -> int:
        return max(TO_HOST - len(self._outgoing), 0)

    def data(self, data: bytes) -> None:
        self._outgoing += data
        self._watch()
        self._work()

    def end(self) -> None:
        self._guest_ended = True
        self._watch()
        self._work()

    def wanted(self) -> None:
        self._watch()
        self._work()

    def gone(self) -> None:
        connection, self.connection = self.connection, None
        if connection is not None and not (connection.guest_ended and connection.end_acknowledged):
            # The guest broke it off: so does the host's socket, by a reset.
            linger = (1).to_bytes(4, "little") + bytes(4)
            try:
                self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            except OSError:
                pass  # it is gone already
        elif self._outgoing:
            # All is acknowledged to the guest, so the host is to have it.
            self._sockets.watch(self._socket, WRITE)
            self._work()
            return
        self._sockets.remove(self._socket)

    def _watch(self) -> None:
        connection = self.connection
        if connection is None:
            return
        if not self._connected:
            self._sockets.watch(self._socket, WRITE)
            return
        mask = WRITE if self._outgoing or self._guest_ended and not self._shut else 0
        if not self._at_end and connection.send_room():
            mask |= READ
        self._sockets.watch(self._socket, mask)

    def _ready(self, events: int) -> None:
        connection = self.connection
        if connection is None:
            self._drain()
            return
        if not self._connected:
            if self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
                connection.abort()
                self._drop()
                return
            self._connected = True
            connection.accept()
        try:
            if self._outgoing:
                self._flush()
                connection.window_opened()
            if self._guest_ended and not self._shut and not self._outgoing:
                self._shut = True
                self._socket.shutdown(socket.SHUT_WR)
            if not self._at_end:
                self._receive(connection)
        except OSError:
            connection.abort()
            self._drop()
            return
        self._watch()

    def _drain(self) -> None:
        """Hands over the rest of what a guest has sent that is done."""
        try:
            self._flush()
        except OSError:
            self._outgoing.clear()
        if not self._outgoing:
            self._sockets.remove(self._socket)

    def _flush(self) -> None:
        try:
            while self._outgoing:
                del self._outgoing[: self._socket.send(memoryview(self._outgoing)[: 1 << 18].tobytes())]
        except BlockingIOError:
            pass

    def _receive(self, connection: TcpConnection) -> None:
        room = connection.send_room()
        if not room:
            return
        try:
            data = self._socket.recv(room)
        except BlockingIOError:
            return
        if data:
            connection.write(data)
        else:
            self._at_end = True
            connection.finish()

    def _drop(self) -> None:
        self.connection = None
        self._sockets.remove(self._socket)


class TcpHost:
    """All TCP connections of a user-mode network."""

    def __init__(self, network: UserNetwork) -> None:
        self.network = network
        self.sockets = network.sockets
        self.connections: dict[Key, TcpConnection] = {}
        self._listeners: list[socket.socket] = []
        self._counter = 0

    def _initial(self) -> int:
        """An initial sequence number by the (virtual) clock, as RFC 9293, section 3.4.1 has it, and a counter."""
        self._counter += 1
        return (self.network.timers.now() // 4000 + self._counter * 64000) & 0xFFFF_FFFF

    def _connection(self, key: Key) -> TcpConnection:
        guest, guest_port, remote, remote_port = key
        network = self.network

        def emit(segment: Tcp) -> None:
            large = len(segment.payload) > connection.mss
            network.send_tcp(remote, guest, segment, connection.mss if large else 0)

        def forget() -> None:
            if self.connections.get(key) is connection:
                del self.connections[key]

        def segments() -> bool:
            return network.segments_wanted()

        connection = TcpConnection(
            guest_port, remote_port, self._initial(), network.timers, emit, segments, forget
        )
        return connection

    def packet(self, packet: Ipv4, segment_size: int) -> None:
        """A TCP packet of the guest."""
        segment = parse_tcp(packet, checked=not segment_size)
        if segment is None or not segment.source_port or not segment.destination_port:
            return
        key = (packet.source, segment.source_port, packet.destination, segment.destination_port)
        connection = self.connections.get(key)
        if connection is not None and not (
            connection.state is State.CLOSED and segment.flags & (SYN | ACK | RST) == SYN
        ):
            if connection.state is State.CLOSED:
                connection.answer_late(segment)
            else:
                connection.segment(segment)
            return
        if segment.flags & RST:
            return
        if segment.flags & (SYN | ACK) != SYN:
            self._refuse(packet, segment)
            return
        self._open(key, packet, segment)

    def _refuse(self, packet: Ipv4, segment: Tcp) -> None:
        """The answer to a segment for no connection (RFC 9293, section 3.10.7.1)."""
        answer = Tcp(segment.destination_port, segment.source_port, 0, 0, RST, 0)
        if segment.flags & ACK:
            answer.sequence = segment.acknowledgement
        else:
            answer = replace(answer, acknowledgement=segment.sequence + segment.length & 0xFFFF_FFFF, flags=RST | ACK)
        self.network.send_tcp(packet.destination, packet.source, answer)

    def _open(self, key: Key, packet: Ipv4, syn: Tcp) -> None:
        target = self.network.host_address(packet.destination, syn.destination_port)
        live = sum(connection.state is not State.CLOSED for connection in self.connections.values())
        if target is None or live >= CONNECTIONS:
            self._refuse(packet, syn)
            return
        try:
            sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        except OSError:
            self._refuse(packet, syn)
            return
        try:
            problem = sock.connect_ex(target)
        except (OSError, OverflowError):
            problem = errno.EHOSTUNREACH
        if problem not in (0, errno.EINPROGRESS):
            sock.close()
            self._refuse(packet, syn)
            return
        connection = self.connections[key] = self._connection(key)
        connection.start(syn)
        self._join(connection, HostStream(sock, self.sockets, self.network.work, connected=False))
        self.network.work()

    def _join(self, connection: TcpConnection, stream: HostStream) -> None:
        connection.stream, stream.connection = stream, connection

    # --- forwards

    def listen(self, host: str, port: int, guest: bytes, guest_port: int) -> tuple[str, int]:
        """Forwards connections to a port of the host; where it listens.  OSError where it cannot."""
        sock = socket.create_server((host, port))
        self._listeners.append(sock)
        self.sockets.add(sock, READ, lambda events: self._accept(sock, guest, guest_port))
        address, number = sock.getsockname()[:2]
        return str(address), int(number)

    def _accept(self, listener: socket.socket, guest: bytes, guest_port: int) -> None:
        for _ in range(ACCEPTS_PER_POLL):
            try:
                sock, (peer, port) = listener.accept()
            except OSError:
                return
            remote = self.network.address_of_peer(peer)
            key = (guest, guest_port, remote, port)
            while key in self.connections:
                self._counter += 1
                key = (guest, guest_port, remote, FIRST_PORT + self._counter % PORTS)
            connection = self.connections[key] = self._connection(key)
            self._join(connection, HostStream(sock, self.sockets, self.network.work, connected=True))
            connection.connect()

    @property
    def waiting(self) -> bool:
        """Whether the host may owe the guest an answer, or somebody may come to a forwarded port."""
        return bool(self._listeners) or any(
            isinstance(connection.stream, HostStream) and connection.stream.owes
            for connection in self.connections.values()
        )

    def close(self) -> None:
        for connection in list(self.connections.values()):
            stream = connection.stream
            if isinstance(stream, HostStream):
                connection.stream = None
                stream.gone()
        self.connections.clear()
        for listener in self._listeners:
            self.sockets.remove(listener)
        self._listeners.clear()
