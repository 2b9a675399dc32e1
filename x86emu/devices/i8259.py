"""The pair of 8259A interrupt controllers of a PC, with the edge/level registers of the PIIX3.

Intel 8259A data sheet (order number 231468), "Programming the 8259A"; 82371SB (PIIX3) data sheet, registers ELCR1
(4D0h) and ELCR2 (4D1h). Departures: the MCS-80/85 mode (ICW4 bit 0 clear) answers like the 8086 mode; buffered mode
changes nothing; the cascade input is treated as a level, which differs from an edge only in races of the wires.
A request that is withdrawn before it is acknowledged is forgotten, and an acknowledge cycle without a request gives
input 7's vector, as the data sheet says.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from x86emu.bus.device import Device

ICW1_NEEDS_ICW4, ICW1_SINGLE, ICW1_LEVEL, ICW1 = 0x01, 0x02, 0x08, 0x10
ICW4_AUTO_EOI, ICW4_SPECIAL_FULLY_NESTED = 0x02, 0x10
OCW3, OCW3_READ_REGISTER, OCW3_READ_ISR, OCW3_POLL, OCW3_SPECIAL_MASK, OCW3_ENABLE_SPECIAL_MASK = 8, 2, 1, 4, 0x20, 0x40

CASCADE = 2  # the master's input that the slave's INT output drives


class I8259(Device):
    """One 8259A. `changed` is called whenever its INT output or anything that it depends on may have changed."""

    STATE = (
        "lines", "latch", "in_service", "mask", "vector_base", "cascade", "elcr", "icw_step", "needs_icw4", "single",
        "level_triggered", "auto_eoi", "special_fully_nested", "special_mask", "lowest_priority", "rotate_on_auto_eoi",
        "read_isr", "poll",
    )  # fmt: skip

    def __init__(self, name: str, *, master: bool, changed: Callable[[], None], has_elcr: bool = True) -> None:
        super().__init__(name)
        self.master = master
        self.changed = changed
        self.has_elcr = has_elcr
        # The PIIX3 keeps IRQ 0, 1, 2, 8 and 13 edge-triggered.
        self.elcr_writable = 0xF8 if master else 0xDE
        self.lines = 0
        self.reset()

    def reset(self) -> None:
        self.latch = self.in_service = self.mask = self.vector_base = self.cascade = self.elcr = 0
        self.icw_step = 0
        self.needs_icw4 = self.single = self.level_triggered = self.auto_eoi = self.special_fully_nested = False
        self.special_mask = self.rotate_on_auto_eoi = self.read_isr = self.poll = False
        self.lowest_priority = 7

    # Inputs

    @property
    def level_inputs(self) -> int:
        """The inputs that are level-triggered, as a mask."""
        own = self.elcr if self.has_elcr else 0xFF if self.level_triggered else 0
        return own | (1 << CASCADE if self.master and not self.single else 0)

    @property
    def requests(self) -> int:
        """IRR: edge requests that were latched, and level inputs as they are."""
        level = self.level_inputs
        return self.latch & ~level | self.lines & level

    def set_line(self, number: int, level: bool) -> None:
        """Drives input `number`, 0..7."""
        bit = 1 << number
        if level:
            if not self.lines & bit:
                self.lines |= bit
                self.latch |= bit
        else:
            self.lines &= ~bit
            self.latch &= ~bit

    # Priorities

    def _highest(self, bits: int) -> int | None:
        """The input of highest priority among `bits`."""
        for step in range(1, 9):
            number = self.lowest_priority + step & 7
            if bits >> number & 1:
                return number
        return None

    def pending(self) -> int | None:
        """The input that INT is asserted for, or None: the highest unmasked request above all that is in service."""
        candidate = self._highest(self.requests & ~self.mask)
        if candidate is None:
            return None
        blocking = self.in_service & ~self.mask if self.special_mask else self.in_service
        if self.special_fully_nested and self.master:
            blocking &= ~(1 << CASCADE) if candidate == CASCADE else 0xFF
        if self.special_mask:
            # Every level that is not itself in service and unmasked may interrupt; of those the highest.
            return self._highest(self.requests & ~self.mask & ~blocking)
        serving = self._highest(blocking)
        if serving is not None:
            rank = candidate - self.lowest_priority - 1 & 7
            if rank >= (serving - self.lowest_priority - 1 & 7):
                return None
        return candidate

    def acknowledge(self) -> int:
        """The interrupt-acknowledge cycle: the input that is now in service; 7 without any effect if none requests."""
        number = self.pending()
        if number is None:
            return 7
        self.latch &= ~(1 << number)
        if self.auto_eoi:
            if self.rotate_on_auto_eoi:
                self.lowest_priority = number
        else:
            self.in_service |= 1 << number
        return number

    # Registers

    def read(self, offset: int, size: int) -> int:
        """Offset 0: IRR or ISR, whichever OCW3 selected; 1: the mask. After a poll command either acknowledges."""
        if self.poll:
            self.poll = False
            number = self.pending()
            if number is None:
                return 0
            self.acknowledge()
            self.changed()
            return 0x80 | number
        if offset == 1:
            return self.mask
        return self.in_service if self.read_isr else self.requests

    def write(self, offset: int, size: int, value: int) -> None:
        """Offset 0: ICW1, OCW2, OCW3; offset 1: ICW2 to ICW4 while initializing, else OCW1."""
        if offset == 1:
            self._write_odd(value)
        elif value & ICW1:
            self._initialize(value)
        elif value & OCW3:
            self._write_ocw3(value)
        else:
            self._write_ocw2(value)
        self.changed()

    def _initialize(self, icw1: int) -> None:
        self.needs_icw4 = bool(icw1 & ICW1_NEEDS_ICW4)
        self.single = bool(icw1 & ICW1_SINGLE)
        self.level_triggered = bool(icw1 & ICW1_LEVEL)
        self.icw_step = 2
        self.latch = self.in_service = self.mask = 0
        self.lowest_priority = 7
        self.special_mask = self.read_isr = self.poll = False
        self.auto_eoi = self.special_fully_nested = self.rotate_on_auto_eoi = False

    def _write_odd(self, value: int) -> None:
        if self.icw_step == 2:
            self.vector_base = value & 0xF8
            self.icw_step = 3 if not self.single else 4 if self.needs_icw4 else 0
        elif self.icw_step == 3:
            self.cascade = value
            self.icw_step = 4 if self.needs_icw4 else 0
        elif self.icw_step == 4:
            self.auto_eoi = bool(value & ICW4_AUTO_EOI)
            self.special_fully_nested = bool(value & ICW4_SPECIAL_FULLY_NESTED)
            self.icw_step = 0
        else:
            self.mask = value

    def _write_ocw2(self, value: int) -> None:
        rotate, specific, eoi = bool(value & 0x80), bool(value & 0x40), bool(value & 0x20)
        level: int | None = value & 7
        if eoi:
            if not specific:
                served = self.in_service & ~self.mask if self.special_mask else self.in_service
                level = self._highest(served)
            if level is not None:
                self.in_service &= ~(1 << level)
                if rotate:
                    self.lowest_priority = level
        elif specific:
            if rotate and level is not None:
                self.lowest_priority = level
        else:
            self.rotate_on_auto_eoi = rotate

    def _write_ocw3(self, value: int) -> None:
        if value & OCW3_POLL:
            self.poll = True
        elif value & OCW3_READ_REGISTER:
            self.read_isr = bool(value & OCW3_READ_ISR)
        if value & OCW3_ENABLE_SPECIAL_MASK:
            self.special_mask = bool(value & OCW3_SPECIAL_MASK)


class I8259Pair(Device):
    """Master and slave in cascade at input 2: sixteen lines in, INTR out.

    `output(level)` is called when INTR changes; it may be set after construction. `elcr=False` is a board without the
    edge/level registers, where ICW1's LTIM bit counts. Map `read_master`/`write_master` at 20h, `read_slave`/
    `write_slave` at A0h (two ports each, byte-wide) and `read_elcr`/`write_elcr` at 4D0h.
    """

    def __init__(self, output: Callable[[bool], object] | None = None, *, elcr: bool = True) -> None:
        super().__init__("i8259")
        self.output = output
        self.level = False
        self.master = I8259("i8259 master", master=True, changed=self._update, has_elcr=elcr)
        self.slave = I8259("i8259 slave", master=False, changed=self._update, has_elcr=elcr)
        self.read_master, self.write_master = self.master.read, self.master.write
        self.read_slave, self.write_slave = self.slave.read, self.slave.write

    def set_irq(self, number: int, level: bool) -> None:
        """Drives line `number`, 0..15; line 2 is the cascade and has no pin."""
        if number == CASCADE:
            return
        if number < 8:
            self.master.set_line(number, level)
        else:
            self.slave.set_line(number & 7, level)
        self._update()

    def _update(self) -> None:
        self.master.set_line(CASCADE, self.slave.pending() is not None)
        level = self.master.pending() is not None
        if level != self.level:
            self.level = level
            if self.output is not None:
                self.output(level)

    def acknowledge(self) -> int:
        """The INTA cycles: the vector. Without a request it is input 7's (spurious) and nothing goes into service."""
        number = self.master.acknowledge()
        vector = self.master.vector_base | number
        if number == CASCADE and not self.master.single and self.master.lines >> CASCADE & 1:
            vector = self.slave.vector_base | self.slave.acknowledge()
        self._update()
        return vector

    def read_elcr(self, offset: int, size: int) -> int:
        """The edge/level register of the master (offset 0) or the slave (1): a set bit is level-triggered."""
        return (self.slave if offset else self.master).elcr

    def write_elcr(self, offset: int, size: int, value: int) -> None:
        """Writes an edge/level register; IRQ 0, 1, 2, 8 and 13 stay edge-triggered."""
        chip = self.slave if offset else self.master
        chip.elcr = value & chip.elcr_writable
        self._update()

    def reset(self) -> None:
        self.master.reset()
        self.slave.reset()
        self._update()

    def save(self) -> dict[str, object]:
        return {"master": self.master.save(), "slave": self.slave.save()}

    def load(self, state: dict[str, Any]) -> None:
        self.master.load(state["master"])
        self.slave.load(state["slave"])
        self._update()
