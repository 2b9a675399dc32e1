"""Reception of the Intel 82540EM: filters, descriptors, checksums of what comes (manual, 3.2, 9.2, 10.3)."""

from __future__ import annotations

import binascii
import struct
from typing import TYPE_CHECKING

from x86emu.devices import ethernet
from x86emu.devices.e1000_registers import (
    ADDRESSES,
    BPRC,
    CTRL,
    CTRL_VME,
    DESCRIPTOR,
    GORCL,
    GPRC,
    MPRC,
    MTA,
    PRC64,
    RAH_VALID,
    RAL,
    RCTL,
    RCTL_BAM,
    RCTL_BSEX,
    RCTL_CFI,
    RCTL_CFIEN,
    RCTL_EN,
    RCTL_LPE,
    RCTL_MPE,
    RCTL_SECRC,
    RCTL_UPE,
    RCTL_VFE,
    RDBAH,
    RDBAL,
    RDH,
    RDLEN,
    RDT,
    ROC,
    RXCSUM,
    RXCSUM_IP,
    RXCSUM_TCP,
    RXD_DD,
    RXD_EOP,
    RXD_IPCS,
    RXD_IXSM,
    RXD_PIF,
    RXD_TCPCS,
    RXD_VP,
    RXDMT0,
    RXE_IPE,
    RXE_TCPE,
    TORL,
    TPR,
    VET,
    VFTA,
)

if TYPE_CHECKING:
    from x86emu.devices.e1000 import E1000

BUFFER_SIZES = ((2048, 1024, 512, 256), (2048, 16384, 8192, 4096))  # by BSEX and BSIZE
MULTICAST_SHIFT = (4, 3, 2, 0)  # by MO: the lowest of the twelve bits of the address's last two bytes
ADDRESS_MASK = (1 << 64) - 1
FRAME_WITH_TAG = ethernet.LARGEST_FRAME + 4


class Receiver:
    """The receive ring's side of the card."""

    def __init__(self, card: E1000) -> None:
        self.card = card

    def _free(self) -> int:
        """Descriptors that software has given."""
        registers = self.card.registers
        count = registers[RDLEN] // DESCRIPTOR
        head, tail = registers[RDH], registers[RDT]
        if not count or head >= count or tail >= count:
            return 0
        return (tail - head) % count

    def run(self) -> None:
        """Takes the frames that wait on the cable, as long as there are descriptors for them."""
        card = self.card
        cable = card.cable
        if not card.registers[RCTL] & RCTL_EN or not card.link_up:
            cable.discard()
            return
        if not card.is_master:
            return
        taken = False
        while (waiting := cable.next_frame()) is not None:
            if not self._one(waiting[0]):
                break
            cable.frame_taken()
            card.count(TPR)
            card.count_bytes(TORL, len(waiting[0]) + 4)
            taken = True
        if taken:
            card.frames_received()

    def _one(self, frame: bytes) -> bool:
        """Stores a frame or drops it; False where it has to wait for descriptors."""
        card, registers = self.card, self.card.registers
        if len(frame) > FRAME_WITH_TAG and not registers[RCTL] & RCTL_LPE:
            card.count(ROC)
            return True
        exact = self._matches(frame)
        if exact is None:
            return True
        tag = None
        checks = self._checks(frame)
        if registers[CTRL] & CTRL_VME and int.from_bytes(frame[12:14], "big") == registers[VET] and len(frame) >= 18:
            tag = int.from_bytes(frame[14:16], "big")
            frame = (frame[:12] + frame[16:]).ljust(ethernet.SHORTEST_FRAME, b"\0")
        if not registers[RCTL] & RCTL_SECRC:
            frame += binascii.crc32(frame).to_bytes(4, "little")
        size = BUFFER_SIZES[bool(registers[RCTL] & RCTL_BSEX)][registers[RCTL] >> 16 & 3]
        needed = -(-len(frame) // size)
        free = self._free()
        if free < needed:
            return False
        status, errors, checksum = checks
        status |= (RXD_PIF if not exact else 0) | (RXD_VP if tag is not None else 0)
        self._store(frame, size, status, errors, checksum, tag or 0)
        self._count(frame)
        count = registers[RDLEN] // DESCRIPTOR
        threshold = count >> 1 + min(registers[RCTL] >> 8 & 3, 2)
        if free > threshold >= free - needed:
            card.cause(RXDMT0)
        return True

    def _store(self, frame: bytes, size: int, status: int, errors: int, checksum: int, special: int) -> None:
        card, registers = self.card, self.card.registers
        base = registers[RDBAH] << 32 | registers[RDBAL]
        count = registers[RDLEN] // DESCRIPTOR
        for at in range(0, len(frame), size):
            part = frame[at : at + size]
            place = base + DESCRIPTOR * registers[RDH] & ADDRESS_MASK
            (address,) = struct.unpack("<Q", card.dma.read(place, 8))
            if address:  # 3.2.3: a null descriptor is passed over
                card.dma.write(address, part)
            last = at + size >= len(frame)
            state = (status | RXD_EOP if last else 0) | RXD_DD
            card.dma.write(
                place + 8,
                struct.pack("<HHBBH", len(part), checksum if last else 0, state, errors if last else 0, special),
            )
            registers[RDH] = registers[RDH] + 1 if registers[RDH] + 1 < count else 0

    def _count(self, frame: bytes) -> None:
        card = self.card
        card.count(GPRC)
        card.count_bytes(GORCL, len(frame))
        card.count_size(PRC64, len(frame))
        if frame[0] & 1:
            card.count(BPRC if frame[:6] == ethernet.BROADCAST else MPRC)

    # --- filters

    def _matches(self, frame: bytes) -> bool | None:
        """True where the address matches exactly, False where it passes otherwise, None where it does not."""
        registers = self.card.registers
        control = registers[RCTL]
        destination = frame[:6]
        if control & RCTL_VFE and int.from_bytes(frame[12:14], "big") == registers[VET] and len(frame) >= 16:
            tag = int.from_bytes(frame[14:16], "big")
            if not registers[VFTA + 4 * (tag >> 5 & 0x7F)] >> (tag & 31) & 1:
                return None
            if control & RCTL_CFIEN and bool(tag & 0x1000) != bool(control & RCTL_CFI):
                return None
        if destination == ethernet.BROADCAST:
            return True if control & RCTL_BAM else self._promiscuous(control, True)
        low, high = int.from_bytes(destination[:4], "little"), int.from_bytes(destination[4:], "little")
        for index in range(ADDRESSES):
            upper = registers[RAL + 8 * index + 4]
            if upper & RAH_VALID and upper & 0xFFFF == high and registers[RAL + 8 * index] == low:
                return True
        if destination[0] & 1:
            hashed = high >> MULTICAST_SHIFT[control >> 12 & 3] & 0xFFF
            if registers[MTA + 4 * (hashed >> 5)] >> (hashed & 31) & 1:
                return False
        return self._promiscuous(control, bool(destination[0] & 1))

    @staticmethod
    def _promiscuous(control: int, multicast: bool) -> bool | None:
        return False if control & (RCTL_MPE if multicast else RCTL_UPE) else None

    # --- checksums

    def _checks(self, frame: bytes) -> tuple[int, int, int]:
        """Status and error bits, and the checksum of the whole packet from PCSS on (3.2.9)."""
        control = self.card.registers[RXCSUM]
        packet = ethernet.ones_sum(memoryview(frame)[control & 0xFF :])
        if not control & (RXCSUM_IP | RXCSUM_TCP):
            return RXD_IXSM, 0, packet
        status = errors = 0
        network = ethernet.HEADER
        kind = int.from_bytes(frame[12:14], "big")
        if kind == ethernet.ETHERTYPE_VLAN:
            network, kind = network + 4, int.from_bytes(frame[16:18], "big")
        if len(frame) < network + 20:
            return RXD_IXSM, 0, packet
        header = network + 4 * (frame[network] & 0xF)
        if kind != ethernet.ETHERTYPE_IPV4 or frame[network] >> 4 != 4 or not network + 20 <= header <= len(frame):
            return RXD_IXSM, 0, packet
        if control & RXCSUM_IP:
            status |= RXD_IPCS
            if ethernet.ones_sum(frame[network:header]):
                errors |= RXE_IPE
        length, fragment = struct.unpack_from(">HxxH", frame, network + 2)
        protocol = frame[network + 9]
        end = network + length
        if not control & RXCSUM_TCP or fragment & 0x3FFF or not header < end <= len(frame):
            return status, errors, packet
        field = {ethernet.PROTOCOL_TCP: 16, ethernet.PROTOCOL_UDP: 6}.get(protocol)
        if field is None or header + field + 2 > end:
            return status, errors, packet
        if protocol == ethernet.PROTOCOL_UDP and frame[header + 6 : header + 8] == b"\0\0":
            return status, errors, packet
        status |= RXD_TCPCS
        total = ethernet.ones_sum(frame[network + 12 : network + 20]) + protocol + end - header
        if (total + ethernet.ones_sum(memoryview(frame)[header:end])) % 0xFFFF:
            errors |= RXE_TCPE
        return status, errors, packet
