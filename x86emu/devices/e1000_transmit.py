"""Transmission of the Intel 82540EM: descriptors of all three kinds, checksums, segmentation (manual, 3.3 to 3.6)."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

from x86emu.devices import ethernet
from x86emu.devices.e1000_registers import (
    BPTC,
    CONTEXT_IP,
    CONTEXT_TCP,
    CTRL,
    CTRL_VME,
    DESCRIPTOR,
    GOTCL,
    GPTC,
    MPTC,
    OPTION_IXSM,
    OPTION_TXSM,
    PTC64,
    TCTL,
    TCTL_EN,
    TDBAH,
    TDBAL,
    TDH,
    TDLEN,
    TDT,
    TOTL,
    TPT,
    TSCTC,
    TXC_DEXT,
    TXC_EOP,
    TXC_IC,
    TXC_IDE,
    TXC_RS,
    TXC_TSE,
    TXC_VLE,
    TXD_DD,
    TXDW,
    TXQE,
    VET,
)

if TYPE_CHECKING:
    from x86emu.devices.e1000 import E1000

CONTEXT, DATA = 0, 1  # DTYP
LARGEST_PACKET = 1 << 20  # more is dropped, with its descriptors given back
LARGEST_SEGMENTED = 65535 + ethernet.HEADER
ADDRESS_MASK = (1 << 64) - 1
FRAME_WITH_TAG = ethernet.LARGEST_FRAME + 4


@dataclass
class Context:
    """What the last context descriptor said (3.3.6)."""

    ip_start: int = 0
    ip_offset: int = 0
    ip_end: int = 0
    tcp_start: int = 0
    tcp_offset: int = 0
    tcp_end: int = 0
    command: int = 0
    header: int = 0
    size: int = 0


class Transmitter:
    """The transmit ring's side of the card."""

    def __init__(self, card: E1000) -> None:
        self.card = card
        self.reset()

    def reset(self) -> None:
        self.context = Context()
        self._start_packet()

    def _start_packet(self) -> None:
        self._data = bytearray()
        self._dropped = False
        self._first: tuple[int, int] | None = None  # command and options of the first descriptor

    def run(self) -> None:
        """Sends what lies between head and tail."""
        card = self.card
        registers = card.registers
        count = registers[TDLEN] // DESCRIPTOR
        if not registers[TCTL] & TCTL_EN or not card.is_master:
            return
        causes = 0
        delayed = False
        base = registers[TDBAH] << 32 | registers[TDBAL]
        for _ in range(count):  # a tail beyond the ring is never reached
            head = registers[TDH]
            if head == registers[TDT] or head >= count:
                break
            at = base + DESCRIPTOR * head & ADDRESS_MASK
            address, low, high = struct.unpack("<QII", card.dma.read(at, DESCRIPTOR))
            command = low >> 24
            self._descriptor(address, low, high)
            if command & TXC_RS:
                card.dma.write(at + 12, struct.pack("<I", high | TXD_DD))
                if command & TXC_IDE:
                    delayed = True
                else:
                    causes |= TXDW
            registers[TDH] = head + 1 if head + 1 < count else 0
        if registers[TDH] == registers[TDT]:
            causes |= TXQE
        card.cause(causes)
        if delayed and not causes & TXDW:
            card.delay_transmit()

    def _descriptor(self, address: int, low: int, high: int) -> None:
        command = low >> 24
        if command & TXC_DEXT and low >> 20 & 0xF == CONTEXT:
            # The address field holds offsets.
            ip, tcp = address & 0xFFFF_FFFF, address >> 32
            self.context = Context(
                ip & 0xFF, ip >> 8 & 0xFF, ip >> 16, tcp & 0xFF, tcp >> 8 & 0xFF, tcp >> 16, command, high >> 8 & 0xFF,
                high >> 16,
            )  # fmt: skip
            return
        extended = bool(command & TXC_DEXT)
        if extended and low >> 20 & 0xF != DATA:
            return
        length = low & 0xFFFFF if extended else low & 0xFFFF
        if self._first is None:
            if extended:
                self._first = (command, high >> 8 & 0xFF)
            else:
                self._first = (command, 0)
        if len(self._data) + length > LARGEST_PACKET:
            self._dropped = True
        elif length:
            self._data += self.card.dma.read(address, length)
        if command & TXC_EOP:
            first, options = self._first
            frame, dropped = self._data, self._dropped
            tag = high >> 16 if command & TXC_VLE and self.card.registers[CTRL] & CTRL_VME else None
            self._start_packet()
            if dropped or len(frame) < ethernet.HEADER:
                return
            if not extended:
                if command & TXC_IC:
                    self._insert(frame, high >> 8 & 0xFF, low >> 16 & 0xFF, 0)
                self._send(frame, tag)
            elif first & TXC_TSE:
                self._segment(frame, tag)
            else:
                self._offload(frame, options)
                self._send(frame, tag)

    @staticmethod
    def _insert(frame: bytearray, start: int, at: int, end: int) -> None:
        """Puts the checksum of [start, end] at `at`, where what it begins with lies; `end` 0 is the packet's end."""
        last = end + 1 if end else len(frame)
        if start < last <= len(frame) and start <= at and at + 2 <= len(frame):
            frame[at : at + 2] = ethernet.checksum(frame[start:last]).to_bytes(2, "big")

    def _offload(self, frame: bytearray, options: int) -> None:
        context = self.context
        if options & OPTION_IXSM:
            self._insert(frame, context.ip_start, context.ip_offset, context.ip_end)
        if options & OPTION_TXSM:
            self._insert(frame, context.tcp_start, context.tcp_offset, context.tcp_end)

    def _segment(self, frame: bytearray, tag: int | None) -> None:
        """TCP segmentation (3.5); UDP and what has no sound headers is dropped."""
        context = self.context
        network, transport, header = context.ip_start, context.tcp_start, context.header
        version = 4 if context.command & CONTEXT_IP else 6
        needed = 20 if version == 4 else 40
        if (
            not context.command & CONTEXT_TCP
            or not context.size
            or network < ethernet.HEADER
            or transport < network + needed
            or header < transport + 20
            or header > len(frame)
            or frame[network] >> 4 != version
        ):
            return
        card = self.card
        card.count(TSCTC)
        if (
            version == 4
            and tag is None
            and network == ethernet.HEADER
            and card.cable.takes_segments
            and len(frame) <= LARGEST_SEGMENTED
            and len(frame) - header > context.size
        ):
            struct.pack_into(">H", frame, network + 2, len(frame) - network)
            struct.pack_into(">H", frame, network + 10, 0)
            struct.pack_into(">H", frame, network + 10, ethernet.checksum(frame[network:transport]))
            for at in range(header, len(frame), context.size):
                self._count(frame[:6], header + min(context.size, len(frame) - at))
            card.cable.send(bytes(frame), context.size)
            return
        for piece in ethernet.segments(bytes(frame), network, transport, header, context.size):
            self._send(bytearray(piece), tag)

    def _send(self, frame: bytearray, tag: int | None) -> None:
        if tag is not None:
            frame[12:12] = struct.pack(">HH", self.card.registers[VET], tag)
        if len(frame) > FRAME_WITH_TAG:
            return
        if len(frame) < ethernet.SHORTEST_FRAME:
            frame += bytes(ethernet.SHORTEST_FRAME - len(frame))
        self._count(frame[:6], len(frame))
        if self.card.link_up:
            self.card.cable.send(bytes(frame))

    def _count(self, destination: bytes | bytearray, length: int) -> None:
        card = self.card
        card.count(GPTC)
        card.count(TPT)
        card.count_bytes(GOTCL, length + 4)
        card.count_bytes(TOTL, length + 4)
        card.count_size(PTC64, length + 4)
        if destination[0] & 1:
            card.count(BPTC if destination == ethernet.BROADCAST else MPTC)
