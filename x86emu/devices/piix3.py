"""PIIX3 PCI-to-ISA bridge, 8086:7000 (Intel 82371SB data sheet 290550, chapter 2.2 configuration, 2.5.5 reset control).

Routes the four PCI interrupts by PIRQRC (60h-63h) to ISA interrupts, where they are ORed with what ISA devices drive,
and holds the reset control register at port CF9h.  Decoding of X-bus chip selects, the top-of-memory register, MB DMA
and the PIIX3's own SMI sources are stored only (the PIIX4's power management function has them here).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from x86emu.bus.pci import PciFunction

if TYPE_CHECKING:
    from x86emu.bus.irq import IrqSink

PIRQ_ROUTE = 0x60
ROUTE_DISABLED = 0x80
# Encodings that are reserved: timer, keyboard, cascade, RTC, coprocessor.
RESERVED_IRQS = frozenset((0, 1, 2, 8, 13))

RESET_CONTROL_HARD = 0x02
RESET_CONTROL_CPU = 0x04


class IsaInputs:
    """The ISA side of the interrupt lines: sink of the ISA devices' `IrqLine`s."""

    def __init__(self, bridge: Piix3) -> None:
        self._bridge = bridge

    def set_irq(self, number: int, level: bool) -> None:
        """An ISA device drives line `number`."""
        self._bridge.set_isa(number, level)


class Piix3(PciFunction):
    """The bridge. `interrupts` gets all sixteen ISA lines; `reset_request(hard)` is called by port CF9h.

    Give `set_pirq` to the PCI bus as its interrupt sink, `isa` to ISA devices' interrupt lines, and map
    `read_reset_control/write_reset_control` below CF8h-CFBh (offset 1).
    """

    def __init__(
        self,
        interrupts: IrqSink | None,
        reset_request: Callable[[bool], object] | None = None,
        *,
        name: str = "PIIX3",
    ) -> None:
        super().__init__(
            name, vendor_id=0x8086, device_id=0x7000, class_code=0x060100, header_type=0x80
        )
        self.interrupts = interrupts
        self.reset_request = reset_request
        self.isa = IsaInputs(self)
        self._pirq = [False] * 4
        self._isa = [False] * 16
        self._output = [False] * 16
        self._reset_control = 0
        self.declare(0x04, 2, 0x0007, 0x0008)  # I/O, memory and bus master are always on
        self.declare(0x06, 2, 0x0200, 0, 0x7800)
        self.declare(0x4C, 1, 0x4D, 0x7F)  # ISA I/O recovery
        self.declare(0x4E, 2, 0x0003, 0x0FFF)  # X-bus chip select
        for pirq in range(4):
            self.declare(PIRQ_ROUTE + pirq, 1, ROUTE_DISABLED, 0x8F)
        self.declare(0x69, 1, 0x02, 0xFE)  # top of memory
        self.declare(0x6A, 2, 0x0000, 0x8083, 0x0000)  # miscellaneous status
        self.declare(0x70, 1, 0x80, 0xEF)  # motherboard device interrupt route
        self.declare(0x76, 2, 0x0C0C, 0x8F8F)  # motherboard DMA
        self.declare(0x78, 2, 0x0002, 0xFFFF)  # programmable chip select
        self.declare(0x80, 1, 0x00, 0x7F)  # APIC base
        self.declare(0x82, 1, 0x00, 0x0F)  # deterministic latency
        self.declare(0xA0, 1, 0x08, 0x1F)  # SMI control
        self.declare(0xA2, 2, 0x0000, 0x01FF)  # SMI enable
        self.declare(0xA4, 4, 0x0000_0000, 0xFFFF_FFFF)  # system event enable
        self.declare(0xA8, 1, 0x0F, 0xFF)  # fast-off timer
        self.declare(0xAA, 2, 0x0000, 0x0000, 0x01FF)  # SMI request
        self.declare(0xAC, 1, 0x00, 0xFF)
        self.declare(0xAE, 1, 0x00, 0xFF)

    # --- interrupts

    def routed_irq(self, pirq: int) -> int | None:
        """The ISA interrupt that PIRQ 0-3 (PIRQA# to PIRQD#) goes to, or None."""
        value = self.config[PIRQ_ROUTE + pirq]
        irq = value & 0x0F
        return None if value & ROUTE_DISABLED or irq in RESERVED_IRQS else irq

    def set_pirq(self, pirq: int, level: bool) -> None:
        """The PCI bus drives PIRQ 0-3."""
        if self._pirq[pirq] != level:
            self._pirq[pirq] = level
            irq = self.routed_irq(pirq)
            if irq is not None:
                self._update(irq)

    def set_isa(self, number: int, level: bool) -> None:
        """An ISA device drives a line."""
        self._isa[number] = level
        self._update(number)

    def _update(self, number: int) -> None:
        level = self._isa[number] or any(
            self._pirq[pirq] and self.routed_irq(pirq) == number for pirq in range(4)
        )  # fmt: skip
        if level != self._output[number]:
            self._output[number] = level
            if self.interrupts is not None:
                self.interrupts.set_irq(number, level)

    def config_written(self, offset: int, size: int) -> None:
        if offset < PIRQ_ROUTE + 4 and offset + size > PIRQ_ROUTE:
            for number in range(16):
                self._update(number)

    # --- reset control

    def read_reset_control(self, offset: int, size: int) -> int:
        """Port CF9h, as offset 1 of CF8h-CFBh; the ports beside it float."""
        value = 0xFFFF_FFFF & ~0xFF00 | self._reset_control << 8
        return value >> 8 * offset & (1 << 8 * size) - 1

    def write_reset_control(self, offset: int, size: int, value: int) -> None:
        """Port CF9h: bit 2 going from 0 to 1 resets, everything with bit 1, else the processors only."""
        if not offset <= 1 < offset + size:
            return
        value = value >> 8 * (1 - offset) & (RESET_CONTROL_HARD | RESET_CONTROL_CPU)
        rising = value & ~self._reset_control & RESET_CONTROL_CPU
        self._reset_control = value
        if rising and self.reset_request is not None:
            self.reset_request(bool(value & RESET_CONTROL_HARD))

    # --- state

    def reset(self) -> None:
        super().reset()
        self._reset_control = 0
        for number in range(16):
            self._update(number)

    def save(self) -> dict[str, object]:
        return super().save() | {
            "pirq": list(self._pirq), "isa": list(self._isa), "reset_control": self._reset_control,
        }  # fmt: skip

    def load(self, state: dict[str, Any]) -> None:
        super().load(state)
        self._pirq[:] = state["pirq"]
        self._isa[:] = state["isa"]
        self._reset_control = state["reset_control"]
        for number in range(16):
            self._update(number)
