"""AHCI host bus adapter with the identity of an ICH9, 8086:2922 (Serial ATA AHCI 1.3.1; Intel 316972 for the PCI side).

Registers: chapter 3; what a port does is in ahci_port.py.  INTA# or one MSI.  Left out: port multipliers, enclosure
management, command completion coalescing, power management of the link, the index/data pair.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from x86emu.bus.pci import Bar, FunctionDma, PciFunction
from x86emu.bus.pci_messages import Msi
from x86emu.devices.ahci_port import AhciPort
from x86emu.devices.ata_drive import AtaDrive

if TYPE_CHECKING:
    from x86emu.bus.dma import Dma

PORTS = 6
SLOTS = 32
PORT_BASE, PORT_BYTES = 0x100, 0x80
ABAR_BYTES = 0x1000

CAP, GHC, IS, PI, VS, CAP2 = 0x00, 0x04, 0x08, 0x0C, 0x10, 0x24
# 64-bit addresses, queued commands, command list override, 3 Gb/s, AHCI only, 32 slots.
CAPABILITIES = 1 << 31 | 1 << 30 | 1 << 24 | 2 << 20 | 1 << 18 | (SLOTS - 1) << 8 | PORTS - 1
GHC_ENABLE, GHC_INTERRUPTS, GHC_RESET = 1 << 31, 1 << 1, 1 << 0
VERSION = 0x0001_0301
PORT_CONTROL = 0x92  # PCS: which ports are enabled


class Ahci(PciFunction):
    """The function with six ports; `drives` are what is plugged in, `in_memory(address, length)` says what is RAM."""

    def __init__(
        self,
        drives: Sequence[AtaDrive | None],
        dma: Dma,
        in_memory: Callable[[int, int], bool],
        *,
        name: str = "AHCI",
    ) -> None:
        if len(drives) > PORTS:
            raise ValueError(f"{name} has {PORTS} ports, {len(drives)} drives were given")
        super().__init__(
            name,
            vendor_id=0x8086,
            device_id=0x2922,
            class_code=0x010601,
            revision=2,
            subsystem_vendor_id=0x1AF4,
            subsystem_id=0x1100,
            interrupt_pin=1,
            bars=(Bar(5, ABAR_BYTES, "memory", self.read, self.write, name),),
        )
        self.declare(PORT_CONTROL, 2, 0, (1 << PORTS) - 1)
        self.msi = Msi(self)
        port = FunctionDma(self, dma)
        plugged = [*drives, *[None] * (PORTS - len(drives))]
        self.ports = [AhciPort(drive, port, in_memory, self._port_interrupt) for drive in plugged]
        self.control = GHC_ENABLE
        self.status = 0

    def reset(self) -> None:
        self._reset_adapter()
        super().reset()

    def _reset_adapter(self) -> None:
        """GHC.HR (10.4.3)."""
        self.control = GHC_ENABLE
        self.status = 0
        for port in self.ports:
            port.reset()
        self._update_interrupt()

    def _port_interrupt(self) -> None:
        """IS.IPS follows PxIS and PxIE and stays until software clears it."""
        for number, port in enumerate(self.ports):
            if port.interrupt:
                self.status |= 1 << number
        self._update_interrupt()

    def _update_interrupt(self) -> None:
        self.set_interrupt(bool(self.status and self.control & GHC_INTERRUPTS))

    # --- registers

    def _read(self, register: int) -> int:
        if register >= PORT_BASE:
            number, within = divmod(register - PORT_BASE, PORT_BYTES)
            return self.ports[number].read(within) if number < PORTS else 0
        values = {CAP: CAPABILITIES, GHC: self.control, IS: self.status, PI: (1 << PORTS) - 1, VS: VERSION}
        return values.get(register, 0)

    def read(self, offset: int, size: int) -> int:
        """BAR 5."""
        value = self._read(offset & ~3)
        return value >> 8 * (offset & 3) & (1 << 8 * size) - 1

    def write(self, offset: int, size: int, value: int) -> None:
        """BAR 5; by dwords (chapter 3), narrower writes count as writes of zeros beside them."""
        register = offset & ~3
        value <<= 8 * (offset & 3)
        if register >= PORT_BASE:
            number, within = divmod(register - PORT_BASE, PORT_BYTES)
            if number < PORTS:
                self.ports[number].write(within, value & 0xFFFF_FFFF)
        elif register == GHC:
            if value & GHC_RESET:
                self._reset_adapter()
            else:
                self.control = GHC_ENABLE | value & GHC_INTERRUPTS
                self._update_interrupt()
        elif register == IS:
            self.status &= ~value
            # What is left, or has come meanwhile, interrupts anew: with MSI the driver would miss it otherwise.
            self.set_interrupt(False)
            self._port_interrupt()

    # --- state

    def save(self) -> dict[str, object]:
        return super().save() | {
            "control": self.control,
            "adapter_status": self.status,
            "ports": [port.save() for port in self.ports],
        }

    def load(self, state: dict[str, Any]) -> None:
        for port, saved in zip(self.ports, state["ports"], strict=True):
            port.load(saved)
        self.control, self.status = state["control"], state["adapter_status"]
        super().load(state)
