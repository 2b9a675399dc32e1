"""The I/O APIC: 24 inputs, each with a redirection entry, to messages on the APIC bus.

Intel 82093AA data sheet (order number 290566), chapter 3, and for the EOI register of versions from 20h on the ICH
data sheets. Departures: input levels are logical, so the polarity bit changes nothing; messages are delivered at
once, so the delivery status reads as idle; the arbitration ID is the ID that was last loaded.
"""

from __future__ import annotations

from typing import Protocol

from x86emu.bus.device import Device

IOREGSEL, IOWIN, EOI_REGISTER = 0x00, 0x10, 0x40

VECTOR, DELIVERY_MODE, LOGICAL, POLARITY = 0xFF, 0x700, 0x800, 0x2000
REMOTE_IRR, LEVEL, MASKED = 0x4000, 0x8000, 0x1_0000
WRITABLE = VECTOR | DELIVERY_MODE | LOGICAL | POLARITY | LEVEL | MASKED | 0xFF << 56

FIXED, LOWEST_PRIORITY, EXTINT = 0, 1, 7


class MessageBus(Protocol):
    """What carries interrupt messages to the local APICs."""

    def deliver(self, destination: int, logical: bool, mode: int, vector: int, level_triggered: bool) -> None: ...

    def add_ioapic(self, ioapic: IoApic) -> None: ...


class IoApic(Device):
    """An I/O APIC with `pins` inputs. Map `read`/`write` at FEC00000h, dword-wide.

    `version` is what the version register says: 11h for the 82093AA, 20h and more have an EOI register at 40h.
    """

    STATE = ("id", "arbitration_id", "select", "entries", "lines", "level_sent")

    def __init__(self, bus: MessageBus, *, apic_id: int = 0, pins: int = 24, version: int = 0x11) -> None:
        super().__init__("ioapic")
        self.bus = bus
        self.initial_id = apic_id
        self.pins = pins
        self.version = version
        self.lines = 0
        self.reset()
        bus.add_ioapic(self)

    def reset(self) -> None:
        self.id = self.initial_id & 0xF
        self.arbitration_id = 0
        self.select = 0
        self.entries = [MASKED] * self.pins
        self.level_sent = 0

    # Inputs

    def set_irq(self, pin: int, level: bool) -> None:
        """Drives input `pin` (asserted = True, whatever the polarity bit says)."""
        bit = 1 << pin
        if level == bool(self.lines & bit):
            return
        if not level:
            self.lines &= ~bit
            self.level_sent &= ~bit
            return
        self.lines |= bit
        entry = self.entries[pin]
        # Section 3.2.4, interrupt mask: an edge at a masked input is neither delivered nor held pending.
        if entry & LEVEL:
            self._service_level(pin)
        elif not entry & MASKED:
            self._send(entry, False)

    def _service_level(self, pin: int) -> None:
        """A level input asks as long as it is asserted and not being served (remote IRR)."""
        entry = self.entries[pin]
        if not self.lines >> pin & 1 or entry & (MASKED | REMOTE_IRR) or not entry & LEVEL:
            return
        if entry >> 8 & 7 in (FIXED, LOWEST_PRIORITY):
            self.entries[pin] |= REMOTE_IRR
            self._send(entry, True)
        elif not self.level_sent >> pin & 1:  # the other modes have no EOI: once per assertion
            self.level_sent |= 1 << pin
            self._send(entry, False)

    def _send(self, entry: int, level_triggered: bool) -> None:
        self.bus.deliver(entry >> 56, bool(entry & LOGICAL), entry >> 8 & 7, entry & VECTOR, level_triggered)

    def end_of_interrupt(self, vector: int) -> None:
        """The EOI of a level-triggered interrupt: entries with that vector may ask again."""
        for pin, entry in enumerate(self.entries):
            if entry & REMOTE_IRR and entry & VECTOR == vector:
                self.entries[pin] &= ~REMOTE_IRR
                self._service_level(pin)

    # Registers

    def read(self, offset: int, size: int) -> int:
        """IOREGSEL at 0, the selected register at 10h."""
        if offset & ~3 == IOREGSEL:
            value = self.select
        elif offset & ~3 == IOWIN:
            value = self._read_register(self.select)
        else:
            return 0
        return value >> 8 * (offset & 3) & (1 << 8 * size) - 1

    def write(self, offset: int, size: int, value: int) -> None:
        """IOREGSEL at 0 (its low byte counts), the selected register at 10h by dwords."""
        if offset == IOREGSEL:
            self.select = value & 0xFF
        elif offset == IOWIN and size == 4:
            self._write_register(self.select, value)
        elif offset == EOI_REGISTER and self.version >= 0x20:
            self.end_of_interrupt(value & 0xFF)

    def _read_register(self, index: int) -> int:
        if index == 0:
            return self.id << 24
        if index == 1:
            return self.version | self.pins - 1 << 16
        if index == 2:
            return self.arbitration_id << 24
        pin = index - 0x10 >> 1
        if 0 <= pin < self.pins:
            return self.entries[pin] >> 32 * (index & 1) & 0xFFFF_FFFF
        return 0

    def _write_register(self, index: int, value: int) -> None:
        if index == 0:
            self.id = self.arbitration_id = value >> 24 & 0xF
            return
        pin = index - 0x10 >> 1
        if not 0 <= pin < self.pins:
            return
        entry = self.entries[pin]
        if index & 1:
            entry = entry & 0xFFFF_FFFF | value << 32 & WRITABLE
        else:
            entry = entry & (0xFF << 56 | REMOTE_IRR) | value & WRITABLE & 0xFFFF_FFFF
            if not entry & LEVEL:
                entry &= ~REMOTE_IRR
        self.entries[pin] = entry
        self._service_level(pin)
