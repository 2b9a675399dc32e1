"""The user-mode network: a small LAN with a router inside this process, which needs no privileges on the host.

    10.0.2.0/24   10.0.2.2   router, DHCP and TFTP server; its other TCP and UDP ports are those of the host's 127.0.0.1
                  10.0.2.3   name server
                  10.0.2.15  the guest, by DHCP

What the guest sends further goes out by sockets of the host, as if this process had sent it.  IPv4 only.  Malformed
frames are dropped in silence, as a router does.
"""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Iterable

from x86emu.errors import UserInputError
from x86emu.network import dhcp, dns, no_ipv6, tftp
from x86emu.network.backend import NetworkBackend, Recorder, Timers
from x86emu.network.fragments import Reassembly, cut
from x86emu.network.host_sockets import HostSockets
from x86emu.network.icmp_host import IcmpHost
from x86emu.network.packets import (
    ARP_REPLY,
    ARP_REQUEST,
    BROADCAST,
    DONT_FRAGMENT,
    ETHERNET_HEADER,
    ETHERTYPE_ARP,
    ETHERTYPE_IPV4,
    ICMP_ECHO,
    ICMP_ECHO_REPLY,
    ICMP_TIME_EXCEEDED,
    NO_ADDRESS,
    PROTOCOL_ICMP,
    PROTOCOL_TCP,
    PROTOCOL_UDP,
    UNREACHABLE_HOST,
    UNREACHABLE_PORT,
    Arp,
    Icmp,
    Ipv4,
    Tcp,
    Udp,
    parse_arp,
    parse_icmp,
    parse_ipv4,
    parse_udp,
    unreachable,
)
from x86emu.network.tcp_host import TcpHost
from x86emu.network.udp_host import UdpHost
from x86emu.network.user_config import GUEST, NETWORK, Forward, UserConfig

ROUTER, NAME_SERVER = NETWORK + b"\2", NETWORK + b"\3"
MASK = socket.inet_aton("255.255.255.0")
LIMITED_BROADCAST, SUBNET_BROADCAST = b"\xff" * 4, NETWORK + b"\xff"
MAC = bytes.fromhex("52550a000202")  # locally administered
LOOPBACK = "127.0.0.1"
WAITING_PACKETS = 32  # kept while the guest's hardware address is asked for


class UserNetwork(NetworkBackend):
    """The network.  UserInputError where a port cannot be had or the TFTP directory is none."""

    takes_segments = True

    def __init__(self, config: UserConfig, timers: Timers, recorder: Recorder | None = None) -> None:
        super().__init__(timers, recorder)
        self.config = config
        if config.tftp is not None and not config.tftp.is_dir():
            raise UserInputError(f"--net: tftp={config.tftp} is no directory; one with the files to boot would do")
        self.sockets = HostSockets()
        self.tcp, self.udp, self.icmp = TcpHost(self), UdpHost(self), IcmpHost(self)
        self.hosts = dns.Hosts(config.hosts, socket.inet_ntoa(ROUTER))
        self.resolvers = dns.resolvers(config.resolv_conf)
        self.dhcp = dhcp.DhcpServer(
            dhcp.DhcpConfig(
                server=ROUTER, first=GUEST, mask=MASK, router=ROUTER, name_server=NAME_SERVER,
                host_name=config.host_name, boot_file=config.boot_file,
            )
        )  # fmt: skip
        self.tftp = tftp.TftpServer(config.tftp, timers, self._tftp_reply) if config.tftp is not None else None
        self.listening: list[tuple[str, int]] = []  # where the forwards are, in order
        self._neighbours: dict[bytes, bytes] = {}
        self._waiting: list[Ipv4] = []
        self._reassembly = Reassembly()
        self._identification = 0
        try:
            for forward in config.forwards:
                self._forward(forward)
        except UserInputError:
            self.close()
            raise

    def _forward(self, forward: Forward) -> None:
        host = self.tcp if forward.protocol == "tcp" else self.udp
        try:
            where = host.listen(forward.host, forward.port, socket.inet_aton(forward.guest), forward.guest_port)
        except (OSError, OverflowError) as error:
            reason = os.strerror(error.errno) if isinstance(error, OSError) and error.errno else error
            raise UserInputError(
                f"--net: hostfwd={forward.protocol}:{forward.host}:{forward.port}: the host gives no such port"
                f" ({reason}); a free one from 1024 up would do"
            ) from None
        self.listening.append(where)

    def work(self) -> None:
        """The host has something to do, and perhaps an answer soon."""
        self.host_has_work()

    # --- addresses

    def host_address(self, destination: bytes, port: int) -> tuple[str, int] | None:
        """Where on the host's side a destination of the guest is; None where it may not or cannot go."""
        if self.config.restrict or destination[0] in (0, 127) or destination[0] >= 224:
            return None
        if destination == ROUTER:
            return LOOPBACK, port
        if destination == NAME_SERVER:
            return (self.resolvers[0], port) if port == dns.PORT and self.resolvers else None
        if destination[:3] == NETWORK:
            return None
        return socket.inet_ntoa(destination), port

    def address_of_peer(self, peer: str) -> bytes:
        """By which address the guest sees a host that came to a forwarded port."""
        address = socket.inet_aton(peer)
        return ROUTER if address[0] == 127 or address[:3] == NETWORK else address

    # --- from the guest

    def received(self, frame: bytes, segment_size: int) -> None:
        if len(frame) < ETHERNET_HEADER or frame[6] & 1:
            return
        if not frame[0] & 1 and frame[:6] != MAC:
            return
        kind = int.from_bytes(frame[12:14], "big")
        if kind == ETHERTYPE_ARP:
            self._arp(frame[ETHERNET_HEADER:])
        elif kind == no_ipv6.ETHERTYPE:
            advertisement = no_ipv6.answer(frame[ETHERNET_HEADER:], MAC)
            if advertisement is not None:
                self._send_frame(no_ipv6.ALL_NODES_MAC, no_ipv6.ETHERTYPE, advertisement)
        elif kind == ETHERTYPE_IPV4:
            packet = parse_ipv4(frame[ETHERNET_HEADER:])
            if packet is None:
                return
            self._learn(packet.source, frame[6:12])
            whole = self._reassembly.add(packet, self.timers.now())
            if whole is not None:
                self._ipv4(whole, segment_size)

    def _learn(self, address: bytes, mac: bytes) -> None:
        if address[:3] != NETWORK or address in (ROUTER, NAME_SERVER) or self._neighbours.get(address) == mac:
            return
        self._neighbours[address] = mac
        waiting, self._waiting = self._waiting, []
        for packet in waiting:
            self._send_packet(packet)

    def _arp(self, data: bytes) -> None:
        message = parse_arp(data)
        if message is None or message.sender_mac[0] & 1:
            return
        self._learn(message.sender, message.sender_mac)
        if message.operation == ARP_REQUEST and message.target in (ROUTER, NAME_SERVER):
            if message.sender in (ROUTER, NAME_SERVER):
                return
            answer = Arp(ARP_REPLY, MAC, message.target, message.sender_mac, message.sender)
            self._send_frame(message.sender_mac, ETHERTYPE_ARP, answer.pack())

    def _ipv4(self, packet: Ipv4, segment_size: int) -> None:
        ours = packet.destination in (ROUTER, NAME_SERVER)
        if packet.protocol == PROTOCOL_UDP:
            self._udp(packet)
            return
        if packet.source[:3] != NETWORK or packet.source in (ROUTER, NAME_SERVER, SUBNET_BROADCAST):
            return
        if packet.destination[0] >= 224 or packet.destination == SUBNET_BROADCAST:
            return
        if not ours and packet.ttl <= 1:
            self.send_icmp(packet.source, unreachable(packet, 0, ICMP_TIME_EXCEEDED))
        elif packet.protocol == PROTOCOL_TCP:
            self.tcp.packet(packet, segment_size)
        elif packet.protocol == PROTOCOL_ICMP:
            self._icmp(packet, ours)

    def _icmp(self, packet: Ipv4, ours: bool) -> None:
        message = parse_icmp(packet)
        if message is None or message.kind != ICMP_ECHO:
            return
        if ours:
            reply = Icmp(ICMP_ECHO_REPLY, 0, message.rest, message.payload)
            self.send_icmp(packet.source, reply, source=packet.destination)
        elif packet.destination[:3] == NETWORK:
            self.send_icmp(packet.source, unreachable(packet, UNREACHABLE_HOST))
        else:
            self.icmp.echo(packet, message)

    def _udp(self, packet: Ipv4) -> None:
        datagram = parse_udp(packet)
        if datagram is None or not datagram.destination_port:
            return
        destination, port = packet.destination, datagram.destination_port
        if port == dhcp.SERVER_PORT and destination in (ROUTER, LIMITED_BROADCAST, SUBNET_BROADCAST):
            reply = self.dhcp.answer(datagram.payload)
            if reply is not None:
                mac = datagram.payload[28:34]
                answer = Udp(dhcp.SERVER_PORT, dhcp.CLIENT_PORT, reply.message)
                self.send_udp(ROUTER, reply.destination, answer, mac=BROADCAST if mac[0] & 1 else mac)
            return
        if packet.source[:3] != NETWORK or packet.source in (ROUTER, NAME_SERVER, SUBNET_BROADCAST):
            return
        if destination[0] >= 224 or destination == SUBNET_BROADCAST:
            return
        if destination == ROUTER and port == tftp.PORT and self.tftp is not None:
            self.tftp.receive((packet.source, datagram.source_port), datagram.payload)
        elif destination == NAME_SERVER:
            self._dns(packet, datagram)
        elif destination != ROUTER and packet.ttl <= 1:
            self.send_icmp(packet.source, unreachable(packet, 0, ICMP_TIME_EXCEEDED))
        else:
            self.udp.packet(packet, datagram)

    def _dns(self, packet: Ipv4, datagram: Udp) -> None:
        if datagram.destination_port != dns.PORT:
            self.send_icmp(packet.source, unreachable(packet, UNREACHABLE_PORT))
            return
        answer = self.hosts.answer(datagram.payload)
        if answer is None and (self.config.restrict or not self.resolvers):
            answer = dns.server_failure(datagram.payload)
            if answer is None:
                return
        if answer is not None:
            reply = Udp(dns.PORT, datagram.source_port, answer)
            self.send_udp(NAME_SERVER, packet.source, reply)
            return
        key = (packet.source, datagram.source_port, NAME_SERVER, dns.PORT)
        if self.udp.unanswered(key):  # it asks again: perhaps another resolver knows
            self.udp.drop(key)
            self.resolvers.append(self.resolvers.pop(0))
        self.udp.packet(packet, datagram)

    # --- to the guest

    def _send_frame(self, mac: bytes, kind: int, payload: bytes, segment_size: int = 0) -> None:
        self.deliver(b"".join((mac, MAC, struct.pack(">H", kind), payload)), segment_size)

    def _send_packet(self, packet: Ipv4, *, mac: bytes | None = None, segment_size: int = 0) -> None:
        if mac is None:
            if packet.destination == LIMITED_BROADCAST:
                mac = BROADCAST
            else:
                mac = self._neighbours.get(packet.destination)
        if mac is None:
            self._ask(packet)
            return
        if segment_size:
            self._send_frame(mac, ETHERTYPE_IPV4, packet.pack(), segment_size)
            return
        for part in cut(packet):
            self._send_frame(mac, ETHERTYPE_IPV4, part.pack())

    def _ask(self, packet: Ipv4) -> None:
        """Asks for the hardware address; the packet is kept until it is known."""
        if packet.destination[:3] != NETWORK:
            return
        if all(packet.payload != other.payload for other in self._waiting):  # not what is only sent again
            self._waiting = [*self._waiting[1 - WAITING_PACKETS :], packet]
        question = Arp(ARP_REQUEST, MAC, ROUTER, bytes(6), packet.destination)
        self._send_frame(BROADCAST, ETHERTYPE_ARP, question.pack())

    def _packet(self, source: bytes, destination: bytes, protocol: int, payload: bytes) -> Ipv4:
        self._identification = self._identification + 1 & 0xFFFF
        return Ipv4(source, destination, protocol, payload, identification=self._identification, fragment=0)

    def send_udp(self, source: bytes, destination: bytes, datagram: Udp, *, mac: bytes | None = None) -> None:
        """A datagram for the guest."""
        packet = self._packet(source, destination, PROTOCOL_UDP, datagram.pack(source, destination))
        self._send_packet(packet, mac=mac)

    def send_icmp(self, destination: bytes, message: Icmp, *, source: bytes = ROUTER) -> None:
        """An ICMP message for the guest."""
        if destination != NO_ADDRESS:
            self._send_packet(self._packet(source, destination, PROTOCOL_ICMP, message.pack()))

    def send_tcp(self, source: bytes, destination: bytes, segment: Tcp, segment_size: int = 0) -> None:
        """A segment for the guest, or one that its device is to see as segments of `segment_size` bytes."""
        payload = segment.pack(source, destination, whole=not segment_size)
        packet = self._packet(source, destination, PROTOCOL_TCP, payload)
        packet.fragment = DONT_FRAGMENT
        self._send_packet(packet, segment_size=segment_size)

    def _tftp_reply(self, peer: tftp.Peer, data: bytes) -> None:
        self.send_udp(ROUTER, peer[0], Udp(tftp.PORT, peer[1], data))

    # --- the host's side

    def poll(self) -> bool:
        if self.sockets.poll():
            self.work()  # where something came, more may follow
        return False

    def descriptors(self) -> Iterable[int]:
        return self.sockets.descriptors()

    @property
    def waiting(self) -> bool:
        return self.tcp.waiting or self.udp.waiting or self.icmp.waiting

    def close(self) -> None:
        self.tcp.close()
        self.udp.close()
        self.icmp.close()
        if self.tftp is not None:
            self.tftp.close()
        self.sockets.close()
        super().close()
