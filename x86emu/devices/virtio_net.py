"""Virtio network device (Virtual I/O Device 1.2, section 5.1), by the legacy and the modern interface.

One pair of queues and a control queue.  Checksums and TCP segmentation that the driver leaves to the device are done
here; where both ends of the cable take large segments they go through whole.  Left out: several queue pairs, RSS, UDP
fragmentation offload, segmentation of received TCP over IPv6.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

from x86emu.devices import ethernet
from x86emu.devices.virtio_device import VirtioDevice
from x86emu.devices.virtio_ring import Chain, RingError

RECEIVE, TRANSMIT, CONTROL = 0, 1, 2
QUEUE_SIZE, CONTROL_QUEUE_SIZE = 256, 64

(
    F_CSUM, F_GUEST_CSUM, F_GUEST_OFFLOADS, F_MTU, F_MAC, F_GUEST_TSO4, F_HOST_TSO4, F_HOST_TSO6, F_HOST_ECN,
    F_MRG_RXBUF, F_STATUS, F_CTRL_VQ, F_CTRL_RX, F_CTRL_VLAN, F_CTRL_RX_EXTRA, F_GUEST_ANNOUNCE, F_CTRL_MAC_ADDR,
) = 0, 1, 2, 3, 5, 7, 11, 12, 13, 15, 16, 17, 18, 19, 20, 21, 23  # fmt: skip
F_VERSION_1 = 32

# struct virtio_net_hdr (5.1.6): flags, gso_type, hdr_len, gso_size, csum_start, csum_offset, num_buffers.
HEADER = "<BBHHHH"
SHORT_HEADER, LONG_HEADER = 10, 12
NEEDS_CSUM, DATA_VALID = 1, 2
GSO_NONE, GSO_TCPV4, GSO_TCPV6, GSO_ECN = 0, 1, 4, 0x80
LARGEST_FRAME = 65536 + 18
MTU = 1500

S_LINK_UP, S_ANNOUNCE = 1, 2
OK, ERROR = 0, 1
# Control classes and commands (5.1.6.5).
RX, MAC, VLAN, ANNOUNCE, GUEST_OFFLOADS = 0, 1, 2, 3, 5
RX_PROMISC, RX_ALLMULTI, RX_ALLUNI, RX_NOMULTI, RX_NOUNI, RX_NOBCAST = range(6)
MAC_TABLE_SET, MAC_ADDR_SET = 0, 1
VLAN_ADD, VLAN_DEL = 0, 1
LARGEST_TABLE = 1024  # addresses in one command
OFFLOADS = 1 << F_GUEST_CSUM | 1 << F_GUEST_TSO4


class VirtioNet(VirtioDevice):
    """A network card with hardware address `mac` on a cable; `kick` is to have the receive queue worked off."""

    DEVICE_ID = 1
    TRANSITIONAL_PCI_ID = 0x1000
    CLASS_CODE = 0x020000
    QUEUES = (QUEUE_SIZE, QUEUE_SIZE, CONTROL_QUEUE_SIZE)
    FEATURES = sum(
        1 << bit
        for bit in (
            F_CSUM, F_GUEST_CSUM, F_GUEST_OFFLOADS, F_MAC, F_GUEST_TSO4, F_HOST_TSO4, F_HOST_TSO6, F_HOST_ECN,
            F_MRG_RXBUF, F_STATUS, F_CTRL_VQ, F_CTRL_RX, F_CTRL_VLAN, F_CTRL_RX_EXTRA, F_GUEST_ANNOUNCE,
            F_CTRL_MAC_ADDR,
        )
    )  # fmt: skip
    STATE = (
        "mac", "link_up", "announce", "modes", "unicast", "multicast", "vlans",
        "offloads",
    )  # fmt: skip

    def __init__(self, cable: ethernet.Cable, mac: bytes, *, name: str = "virtio-net") -> None:
        super().__init__(name)
        self.cable = cable
        self.own_mac = mac
        self.kick: Callable[[], object] = lambda: None
        self.config_changed: Callable[[], object] = lambda: None
        self.link_up = True
        cable.wake = self._frames_wait
        cable.segments_wanted = self._segments_wanted
        self.reset()

    def reset(self) -> None:
        super().reset()
        self.mac = self.own_mac
        self.announce = False
        self.modes: set[int] = {RX_PROMISC}  # 5.1.6.5.1: until the driver says otherwise, all comes in
        self.unicast: set[bytes] = set()
        self.multicast: set[bytes] = set()
        self.vlans: set[int] | None = None
        self.offloads: int | None = None

    # --- configuration (5.1.4)

    def config_space(self) -> bytes:
        status = (S_LINK_UP if self.link_up else 0) | (S_ANNOUNCE if self.announce else 0)
        return struct.pack("<6sHHH", self.mac, status, 1, MTU)

    def config_write(self, offset: int, data: bytes) -> None:
        if not self.accepted >> F_VERSION_1 & 1 and offset + len(data) <= 6:  # legacy: 5.1.4.2
            self.mac = self.mac[:offset] + data + self.mac[offset + len(data) :]

    def set_link(self, up: bool) -> None:
        """Plugs the cable in or out; the driver is told."""
        self.link_up = up
        self.config_changed()

    def ask_to_announce(self) -> None:
        """Has the driver announce itself on the network (5.1.6.5.4)."""
        if self.accepted >> F_GUEST_ANNOUNCE & 1:
            self.announce = True
            self.config_changed()

    def _has(self, bit: int) -> bool:
        return bool(self.accepted >> bit & 1)

    def _offload(self, bit: int) -> bool:
        wanted = self.accepted if self.offloads is None else self.offloads
        return bool(wanted >> bit & 1)

    def _segments_wanted(self) -> bool:
        return self._offload(F_GUEST_TSO4) and self.queues[RECEIVE].enabled

    @property
    def _header_bytes(self) -> int:
        return LONG_HEADER if self._has(F_VERSION_1) or self._has(F_MRG_RXBUF) else SHORT_HEADER

    # --- queues

    def handle(self, index: int) -> None:
        if index == RECEIVE:
            self._receive()
        elif index == TRANSMIT:
            self._transmit()
        else:
            self._control()

    def _frames_wait(self) -> None:
        if self.queues[RECEIVE].enabled and self.link_up:
            self.kick()
        else:
            self.cable.discard()  # nobody listens

    # --- receiving (5.1.6.3, 5.1.6.4)

    def _receive(self) -> None:
        while (waiting := self.cable.next_frame()) is not None:
            frame, size = waiting
            if self._passes(frame) and not self._place(frame, size):
                return
            self.cable.frame_taken()

    def _place(self, frame: bytes, size: int) -> bool:
        """Puts a frame into the queue; False where the driver has not given enough buffers."""
        queue = self.queues[RECEIVE]
        header = self._header_bytes
        if size and not self._offload(F_GUEST_TSO4):
            return True  # the driver has changed its mind: lost
        needed = header + len(frame)
        chains: list[Chain] = []
        room = 0
        before = queue.next_available
        while room < needed:
            chain = queue.pop()
            if chain is None:
                queue.next_available = before
                return False
            if chain.writable_bytes < (header if not chains else 1):
                raise RingError("a receive buffer has no room for the header")
            chains.append(chain)
            room += chain.writable_bytes
            if not self._has(F_MRG_RXBUF):
                break
        if room < needed:
            queue.push(chains[0], 0)  # too small for the frame, which is lost
            return True
        data = memoryview(self._receive_header(frame, size, len(chains)) + frame)
        for chain in chains:
            part = data[: chain.writable_bytes]
            queue.scatter(chain, part)
            queue.push(chain, len(part))
            data = data[len(part) :]
        return True

    def _receive_header(self, frame: bytes, size: int, buffers: int) -> bytes:
        if size:
            transport = ethernet.HEADER + 4 * (frame[ethernet.HEADER] & 0xF)
            payload = transport + (frame[transport + 12] >> 4 << 2)
            fields = struct.pack(HEADER, NEEDS_CSUM, GSO_TCPV4, payload, size, transport, 16)
        else:
            fields = struct.pack(HEADER, 0, GSO_NONE, 0, 0, 0, 0)
        return fields + struct.pack("<H", buffers) if self._header_bytes == LONG_HEADER else fields

    def _passes(self, frame: bytes) -> bool:
        """The filters that the control queue sets up."""
        if self.vlans is not None and frame[12:14] == b"\x81\x00":
            if int.from_bytes(frame[14:16], "big") & 0xFFF not in self.vlans:
                return False
        modes, destination = self.modes, frame[:6]
        if RX_PROMISC in modes:
            return True
        if destination == ethernet.BROADCAST:
            return RX_NOBCAST not in modes
        if destination[0] & 1:
            if RX_NOMULTI in modes:
                return False
            return RX_ALLMULTI in modes or destination in self.multicast
        if RX_NOUNI in modes:
            return False
        return (
            RX_ALLUNI in modes or destination == self.mac or destination in self.unicast
        )

    # --- transmitting (5.1.6.2)

    def _transmit(self) -> None:
        queue = self.queues[TRANSMIT]
        header = self._header_bytes
        while (chain := queue.pop()) is not None:
            if header + ethernet.HEADER <= chain.readable_bytes <= header + LARGEST_FRAME:
                data = queue.gather(chain)
                if self.link_up:
                    self._send(struct.unpack_from(HEADER, data), data[header:])
            queue.push(chain, 0)

    def _send(self, header: tuple[Any, ...], frame: bytes) -> None:
        flags, kind, _, size, start, offset = header
        if kind & ~GSO_ECN != GSO_NONE:
            self._send_large(frame, kind & ~GSO_ECN, size)
            return
        if flags & NEEDS_CSUM:
            at = start + offset
            if at + 2 > len(frame):
                return  # there is no such place: dropped
            # The field holds the pseudo-header's sum already.
            value = ethernet.checksum(memoryview(frame)[start:])
            if offset == 6 and not value:
                value = 0xFFFF  # UDP
            frame = frame[:at] + value.to_bytes(2, "big") + frame[at + 2 :]
        if len(frame) <= ethernet.LARGEST_FRAME + 4:
            self.cable.send(frame)

    def _send_large(self, frame: bytes, kind: int, size: int) -> None:
        places = ethernet.tcp_headers(frame)
        if places is None or not size or kind not in (GSO_TCPV4, GSO_TCPV6):
            return
        network, transport, payload = places
        if (frame[network] >> 4 == 4) != (kind == GSO_TCPV4):
            return
        if kind == GSO_TCPV4 and network == ethernet.HEADER and self.cable.takes_segments:
            self.cable.send(frame, size)
            return
        for piece in ethernet.segments(frame, network, transport, payload, min(size, MTU)):
            self.cable.send(piece)

    # --- control (5.1.6.5)

    def _control(self) -> None:
        queue = self.queues[CONTROL]
        while (chain := queue.pop()) is not None:
            if not chain.writable_bytes:
                queue.push(chain, 0)
                continue
            status = ERROR
            if 2 <= chain.readable_bytes <= 2 + 8 + 12 * LARGEST_TABLE:
                data = queue.gather(chain)
                status = OK if self._command(data[0], data[1], data[2:]) else ERROR
            queue.scatter(chain, bytes((status,)))
            queue.push(chain, 1)

    def _command(self, group: int, command: int, data: bytes) -> bool:
        if group == RX and len(data) == 1 and command <= RX_NOBCAST:
            if data[0]:
                self.modes.add(command)
            else:
                self.modes.discard(command)
            return True
        if group == MAC and command == MAC_ADDR_SET and len(data) == 6:
            self.mac = data
            return True
        if group == MAC and command == MAC_TABLE_SET:
            return self._set_tables(data)
        if group == VLAN and command in (VLAN_ADD, VLAN_DEL) and len(data) == 2:
            return self._set_vlan(command, int.from_bytes(data, "little"))
        if group == ANNOUNCE and not command:
            self.announce = False
            return True
        if group == GUEST_OFFLOADS and not command and len(data) == 8:
            wanted = int.from_bytes(data, "little")
            if wanted & ~(OFFLOADS & self.accepted):
                return False
            self.offloads = wanted
            return True
        return False

    def _set_vlan(self, command: int, number: int) -> bool:
        if number > 0xFFF:
            return False
        if self.vlans is None:
            self.vlans = set()
        if command == VLAN_ADD:
            self.vlans.add(number)
        else:
            self.vlans.discard(number)
        return True

    def _set_tables(self, data: bytes) -> bool:
        tables: list[list[bytes]] = []
        for _ in range(2):
            if len(data) < 4:
                return False
            count = int.from_bytes(data[:4], "little")
            end = 4 + 6 * count
            if end > len(data):
                return False
            tables.append([data[at : at + 6] for at in range(4, end, 6)])
            data = data[end:]
        if data:
            return False
        self.unicast, self.multicast = set(tables[0]), set(tables[1])
        return True
