"""8042 keyboard and auxiliary device controller (Intel UPI-41/42 with the IBM PS/2 firmware; IBM PS/2 Hardware
Interface Technical Reference, "Keyboard and Auxiliary Device Controller").

Ports 60h (data, offset 0) and 64h (status and command, offset 0 of the second range).  The controller answers its own
commands at once; bytes of the devices take the time below on the wire, so that a handler may read port 60h twice.
The keyboard lock is open, parity and time-out errors do not happen, the RAM beyond the command byte is plain memory.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from x86emu.bus.device import Device
from x86emu.devices.ps2_keyboard import SET_2_TO_SET_1, Ps2Keyboard
from x86emu.devices.ps2_mouse import Ps2Mouse

if TYPE_CHECKING:
    from x86emu.bus.clock import Clock, Event
    from x86emu.bus.irq import IrqLine

STATUS_OUTPUT_FULL = 0x01
STATUS_SYSTEM = 0x04
STATUS_COMMAND = 0x08
STATUS_NOT_LOCKED = 0x10
STATUS_AUXILIARY = 0x20

COMMAND_KEYBOARD_INTERRUPT = 0x01
COMMAND_AUXILIARY_INTERRUPT = 0x02
COMMAND_SYSTEM = 0x04
COMMAND_KEYBOARD_DISABLED = 0x10
COMMAND_AUXILIARY_DISABLED = 0x20
COMMAND_TRANSLATE = 0x40

OUTPUT_NOT_RESET = 0x01
OUTPUT_A20 = 0x02
OUTPUT_KEYBOARD_FULL = 0x10
OUTPUT_AUXILIARY_FULL = 0x20

INPUT_PORT = 0xA0  # keyboard not locked, colour display (IBM PC/AT Technical Reference, "Input Port Definition")
KEYBOARD, AUXILIARY, CONTROLLER = range(3)
# A reply follows a command quickly; a real device takes 1 ms a byte, which guests would only spin through.
REPLY_NS = 20_000
SCAN_CODE_NS = 300_000


class I8042(Device):
    """The controller with a keyboard and a mouse.

    `keyboard_irq` is IRQ 1, `auxiliary_irq` IRQ 12; `a20(True)` lets address line 20 through; `reset_pulse()` resets
    the processors. Map `read_data/write_data` at 60h and `read_status/write_command` at 64h.
    """

    STATE = ("_ram", "_status", "_data", "_output_port", "_parameter_of", "_own", "_released", "_from", "deadline")

    def __init__(
        self,
        keyboard_irq: IrqLine,
        auxiliary_irq: IrqLine,
        clock: Clock,
        *,
        a20: Callable[[bool], object] | None = None,
        reset_pulse: Callable[[], object] | None = None,
        keyboard: Ps2Keyboard | None = None,
        mouse: Ps2Mouse | None = None,
        name: str = "i8042",
    ) -> None:
        super().__init__(name)
        self.keyboard_irq = keyboard_irq
        self.auxiliary_irq = auxiliary_irq
        self.clock = clock
        self.a20 = a20
        self.reset_pulse = reset_pulse
        self.keyboard = keyboard if keyboard is not None else Ps2Keyboard(clock)
        self.mouse = mouse if mouse is not None else Ps2Mouse()
        self._event: Event | None = None
        self._own: deque[tuple[int, int]] = deque()
        self._ram = bytearray(32)
        self._output_port = OUTPUT_NOT_RESET | OUTPUT_A20
        self.keyboard.on_data = self._schedule
        self.mouse.on_data = self._schedule
        self.reset()

    def reset(self) -> None:
        """Power on, the devices too. A20 is let through, as the chip set's gate does not wait for the 8042."""
        self._ram[:] = bytes(32)
        self._ram[0] = COMMAND_KEYBOARD_DISABLED | COMMAND_AUXILIARY_DISABLED | COMMAND_TRANSLATE
        self._status = STATUS_NOT_LOCKED
        self._data = 0
        self._from = CONTROLLER
        self._parameter_of = 0
        self._released = 0
        self._own.clear()
        self.clock.cancel(self._event)
        self._event = None
        self.keyboard.reset()
        self.mouse.reset()
        self._set_output_port(OUTPUT_NOT_RESET | OUTPUT_A20)
        self._update_irq()

    def send_key(self, *keys: str) -> None:
        """Strikes keys by name, as `Ps2Keyboard.send_key` describes."""
        self.keyboard.send_key(*keys)

    def type_text(self, text: str) -> None:
        """Types ASCII text, as `Ps2Keyboard.type_text` describes."""
        self.keyboard.type_text(text)

    # --- ports

    def read_data(self, offset: int, size: int) -> int:
        """Port 60h: the output buffer; empty, it gives its last byte again."""
        if self._status & STATUS_OUTPUT_FULL:
            self._status &= ~(STATUS_OUTPUT_FULL | STATUS_AUXILIARY)
            self._update_irq()
            self._schedule()
        return self._data

    def read_status(self, offset: int, size: int) -> int:
        """Port 64h: the status register."""
        return self._status

    def write_data(self, offset: int, size: int, value: int) -> None:
        """Port 60h: the parameter of a controller command, else a byte for the keyboard."""
        self._status &= ~STATUS_COMMAND
        command, self._parameter_of = self._parameter_of, 0
        if not command:
            self._ram[0] &= ~COMMAND_KEYBOARD_DISABLED & 0xFF  # sending lets the clock line go
            self.keyboard.command(value)
        elif 0x60 <= command <= 0x7F:
            self._ram[command & 0x1F] = value
            if command == 0x60:
                self._status = self._status & ~STATUS_SYSTEM | value & COMMAND_SYSTEM
                self._update_irq()
                self._schedule()
        elif command == 0xD1:
            self._set_output_port(value)
            if not value & OUTPUT_NOT_RESET:
                self._pulse_reset()
        elif command == 0xD2:
            self._answer(value, KEYBOARD)
        elif command == 0xD3:
            self._answer(value, AUXILIARY)
        elif command == 0xD4:
            self._ram[0] &= ~COMMAND_AUXILIARY_DISABLED & 0xFF
            self.mouse.command(value)

    def write_command(self, offset: int, size: int, value: int) -> None:
        """Port 64h: a controller command."""
        self._status |= STATUS_COMMAND
        self._parameter_of = 0
        if 0x20 <= value <= 0x3F:
            self._answer(self._ram[value & 0x1F])
        elif 0x60 <= value <= 0x7F or 0xD1 <= value <= 0xD4:
            self._parameter_of = value
        elif value == 0xA4:
            self._answer(0xF1)  # no password is installed
        elif value in (0xA7, 0xA8):
            self._set_command_bit(COMMAND_AUXILIARY_DISABLED, value == 0xA7)
        elif value in (0xAD, 0xAE):
            self._set_command_bit(COMMAND_KEYBOARD_DISABLED, value == 0xAD)
        elif value in (0xA9, 0xAB):
            self._answer(0x00)  # interface test: no error on clock and data lines
        elif value == 0xAA:
            self._ram[0] = self._ram[0] | COMMAND_KEYBOARD_DISABLED | COMMAND_AUXILIARY_DISABLED
            self._status |= STATUS_SYSTEM
            self._answer(0x55)
        elif value == 0xC0:
            self._answer(INPUT_PORT)
        elif value == 0xD0:
            self._answer(self.output_port)
        elif value in (0xDD, 0xDF):  # clones: A20 off and on in one command
            self._set_output_port(self._output_port & ~OUTPUT_A20 | (OUTPUT_A20 if value == 0xDF else 0))
        elif value == 0xE0:
            self._answer(0x00)  # test inputs: both clock lines low
        elif value >= 0xF0 and not value & 1:
            self._pulse_reset()  # bits 3-0 low: pulse output port lines, of which only reset is a strobe

    @property
    def output_port(self) -> int:
        """The 8042's output port P2 as command D0h reads it."""
        full = 0
        if self._status & STATUS_OUTPUT_FULL:
            full = OUTPUT_AUXILIARY_FULL if self._status & STATUS_AUXILIARY else OUTPUT_KEYBOARD_FULL
        return self._output_port | full

    def _set_command_bit(self, bit: int, on: bool) -> None:
        self._ram[0] = self._ram[0] | bit if on else self._ram[0] & ~bit
        self._schedule()

    def _set_output_port(self, value: int) -> None:
        changed = value ^ self._output_port
        self._output_port = value & ~(OUTPUT_KEYBOARD_FULL | OUTPUT_AUXILIARY_FULL) & 0xFF | OUTPUT_NOT_RESET
        if changed & OUTPUT_A20 and self.a20 is not None:
            self.a20(bool(value & OUTPUT_A20))

    def _pulse_reset(self) -> None:
        if self.reset_pulse is not None:
            self.reset_pulse()

    # --- output buffer

    def _answer(self, value: int, source: int = CONTROLLER) -> None:
        # The firmware runs one command at a time: an answer not read is replaced by the next one.
        self._own.clear()
        self._put(value, source)

    def _put(self, value: int, source: int) -> None:
        self._data = value
        self._from = source
        self._status = self._status & ~STATUS_AUXILIARY | STATUS_OUTPUT_FULL
        if source == AUXILIARY:
            self._status |= STATUS_AUXILIARY
        self._lower_irqs()
        self._update_irq()

    def _lower_irqs(self) -> None:
        self.keyboard_irq.set_level(False)
        self.auxiliary_irq.set_level(False)

    def _update_irq(self) -> None:
        full = self._status & (STATUS_OUTPUT_FULL | STATUS_AUXILIARY)
        enables = self._ram[0]
        self.keyboard_irq.set_level(full == STATUS_OUTPUT_FULL and bool(enables & COMMAND_KEYBOARD_INTERRUPT))
        self.auxiliary_irq.set_level(
            full == STATUS_OUTPUT_FULL | STATUS_AUXILIARY and bool(enables & COMMAND_AUXILIARY_INTERRUPT)
        )

    def _source(self) -> Ps2Keyboard | Ps2Mouse | None:
        """The device whose byte comes next: answers first, the keyboard before the mouse."""
        devices: list[Ps2Keyboard | Ps2Mouse] = []
        if not self._ram[0] & COMMAND_KEYBOARD_DISABLED and self.keyboard.pending():
            devices.append(self.keyboard)
        if not self._ram[0] & COMMAND_AUXILIARY_DISABLED and self.mouse.pending():
            devices.append(self.mouse)
        return min(devices, key=lambda device: not device.urgent(), default=None)

    def _schedule(self) -> None:
        """Puts the next byte of a device on its way, if there is one and the output buffer is free."""
        source = self._source()
        if self._status & STATUS_OUTPUT_FULL or source is None:
            return
        deadline = self.clock.now() + (REPLY_NS if source.urgent() else SCAN_CODE_NS)
        if self._event is not None:
            if self._event.deadline <= deadline:
                return
            self.clock.cancel(self._event)
        self._event = self.clock.schedule(deadline, self._transfer)

    def _transfer(self) -> None:
        self._event = None
        source = self._source()
        if self._status & STATUS_OUTPUT_FULL or source is None:
            return
        value = source.take()
        if source is self.mouse:
            self._put(value, AUXILIARY)
        elif not self._ram[0] & COMMAND_TRANSLATE:
            self._put(value, KEYBOARD)
        elif value == 0xF0:
            self._released = 0x80  # the prefix is swallowed and marks the code that follows
            self._schedule()
        else:
            released, self._released = self._released, 0
            self._put(SET_2_TO_SET_1[value] | released, KEYBOARD)

    # --- state

    @property
    def deadline(self) -> int | None:
        """When the byte on the wire arrives, in nanoseconds."""
        return None if self._event is None else self._event.deadline

    @deadline.setter
    def deadline(self, deadline: int | None) -> None:
        self.clock.cancel(self._event)
        self._event = None if deadline is None else self.clock.schedule(deadline, self._transfer)

    def save(self) -> dict[str, object]:
        return super().save() | {"keyboard": self.keyboard.save(), "mouse": self.mouse.save()}

    def load(self, state: dict[str, Any]) -> None:
        self.keyboard.load(state["keyboard"])
        self.mouse.load(state["mouse"])
        super().load(state)

    def loaded(self) -> None:
        if self.a20 is not None:
            self.a20(bool(self._output_port & OUTPUT_A20))
        self._update_irq()
