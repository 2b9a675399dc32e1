"""One ATA channel with up to two devices (ATA/ATAPI-6, chapters 6.2, 7 and 9.16 for the device that is not there).

Command block registers (1F0h-1F7h or 170h-177h) and the control block register (3F6h or 376h).  Where device 1 is
absent, device 0 answers for it: registers as written, status 00h.  A channel without devices floats and reads FFh
(the standard's pull-down of DD7 would give 7Fh; software looks for FFh).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from x86emu.bus.device import Device
from x86emu.devices.ata_drive import (
    CONTROL_HIGH_ORDER,
    CONTROL_NO_INTERRUPT,
    CONTROL_SOFTWARE_RESET,
    DATA,
    DEVICE,
    DEVICE_SELECT,
    EXECUTE_DEVICE_DIAGNOSTIC,
    STATUS,
    AtaDrive,
)

if TYPE_CHECKING:
    from x86emu.bus.irq import IrqLine


class AtaChannel(Device):
    """Two device positions; None is an empty one. `irq` is the channel's line.

    Map `read/write` with `read_block/write_block` at the command block, eight ports, all sizes, and
    `read_control/write_control` at the one port of the control block.
    """

    STATE = ("_control", "_selected", "_raised")

    def __init__(
        self, irq: IrqLine, device0: AtaDrive | None = None, device1: AtaDrive | None = None, *, name: str = "ATA"
    ) -> None:
        super().__init__(name)
        self.irq = irq
        self.drives: list[AtaDrive | None] = [None, None]
        self._control = 0
        self._selected = 0
        self._raised = False  # an interrupt edge that the bus master has not been told of
        self.attach(0, device0)
        self.attach(1, device1)

    def attach(self, number: int, drive: AtaDrive | None) -> None:
        """Plugs a device in as 0 or 1, before the machine starts."""
        self.drives[number] = drive
        if drive is not None:
            drive.interrupt_changed = self._update_irq

    def reset(self) -> None:
        """The channel's RESET- line."""
        self._control = 0
        self._selected = 0
        for drive in self.drives:
            if drive is not None:
                drive.reset()
        self._update_irq()

    @property
    def selected(self) -> AtaDrive | None:
        """The device that DEV selects, if it is there."""
        return self.drives[self._selected]

    def interrupt_edge(self) -> bool:
        """Whether the interrupt line has risen since the last call."""
        raised, self._raised = self._raised, False
        return raised

    def _update_irq(self) -> None:
        drive = self.drives[self._selected]
        level = drive is not None and drive.interrupt and not self._control & CONTROL_NO_INTERRUPT
        if level and not self.irq.level:
            self._raised = True
        self.irq.set_level(level)

    # --- command block

    def read(self, offset: int, size: int) -> int:
        """Command block registers; the data register takes words and dwords."""
        if offset == DATA:
            drive = self.selected
            data = drive.take(max(size, 2)) if drive is not None else b""
            return int.from_bytes(data.ljust(size, b"\xff")[:size], "little")
        return sum(self._read_byte(offset + lane) << 8 * lane for lane in range(size))

    def _read_byte(self, register: int) -> int:
        drive = self.selected
        if register > STATUS:
            return 0xFF
        if drive is None:
            drive = self.drives[1 - self._selected]
            if drive is None:
                return 0xFF
            if register == STATUS or self._selected == 0:
                return 0x00
            if register == DEVICE:
                return drive.read_register(DEVICE, False)
        return drive.read_register(register, bool(self._control & CONTROL_HIGH_ORDER))

    def write(self, offset: int, size: int, value: int) -> None:
        """Command block registers: both devices latch them, the selected one takes data and commands."""
        if offset == DATA:
            if self.selected is not None:
                self.selected.give(value.to_bytes(size, "little"))
            return
        for lane in range(size):
            self._write_byte(offset + lane, value >> 8 * lane & 0xFF)

    def _write_byte(self, register: int, value: int) -> None:
        self._control &= ~CONTROL_HIGH_ORDER
        if register == STATUS:
            if value == EXECUTE_DEVICE_DIAGNOSTIC:
                self._diagnostic()
            elif self.selected is not None:
                self.selected.start(value)
            return
        if register > STATUS:
            return
        for drive in self.drives:
            if drive is not None:
                drive.write_register(register, value)
        if register == DEVICE:
            self._selected = 1 if value & DEVICE_SELECT else 0
            self._update_irq()

    def _diagnostic(self) -> None:
        """EXECUTE DEVICE DIAGNOSTIC goes to both devices; device 0 reports and is selected afterwards."""
        self._selected = 0
        for drive in self.drives:
            if drive is not None:
                drive.set_signature()
        if self.drives[0] is not None:
            self.drives[0].set_interrupt(True)

    def read_block(self, offset: int, size: int, count: int) -> bytes:
        """REP INS at the data register: as much as the device has, across blocks."""
        drive = self.selected
        if offset != DATA or drive is None or size == 1:
            return b""
        wanted = size * count
        data = bytearray()
        while len(data) < wanted:
            part = drive.take(wanted - len(data))
            if not part:
                break
            data += part
        if len(data) % size:
            data += b"\xff" * (size - len(data) % size)
        return bytes(data)

    def write_block(self, offset: int, size: int, data: bytes) -> int:
        """REP OUTS at the data register: as much as the device takes, across blocks."""
        drive = self.selected
        if offset != DATA or drive is None or size == 1:
            return 0
        done = 0
        while done < len(data):
            taken = drive.give(data[done:])
            if not taken:
                break
            done += taken
        return -(-done // size)

    # --- control block

    def read_control(self, offset: int, size: int) -> int:
        """Alternate status: the status without acknowledging the interrupt."""
        drive = self.selected
        if drive is None:
            return 0xFF if self.drives[1 - self._selected] is None else 0x00
        return drive.status

    def write_control(self, offset: int, size: int, value: int) -> None:
        """Device control: nIEN, SRST and HOB."""
        changed, self._control = self._control ^ value, value
        if changed & CONTROL_SOFTWARE_RESET:
            begins = value & CONTROL_SOFTWARE_RESET
            for drive in self.drives:
                if drive is None:
                    continue
                if begins:
                    drive.software_reset_begins()
                else:
                    drive.software_reset_ends()
            self._selected = 0
        self._update_irq()

    # --- state

    def save(self) -> dict[str, object]:
        return super().save() | {"drives": [None if drive is None else drive.save() for drive in self.drives]}

    def load(self, state: dict[str, Any]) -> None:
        for drive, saved in zip(self.drives, state["drives"], strict=True):
            if drive is not None:
                drive.load(saved)
        super().load(state)

    def loaded(self) -> None:
        raised = self._raised
        self._update_irq()
        self._raised = raised
