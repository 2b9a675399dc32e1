"""16550A universal asynchronous receiver/transmitter (National Semiconductor PC16550D data sheet, chapters 6 to 8).

Offsets 0-7 are the eight registers of table II of the data sheet.  Departures:

* A character takes no time to leave and `UNPACED_CHARACTER_NS` to arrive unless `paced=True`, when both take the
  time that the divisor and the frame format give at 1.8432 MHz.
* The host waits while the receiver has no room, as a peer with flow control does, so that input is never lost.
  A loopback or a paced line does overrun.
* OUT2 gates the interrupt onto the bus, as on the PC/AT serial adapter (IBM PC/AT Technical Reference, 1-149).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

from x86emu.bus.device import Device

if TYPE_CHECKING:
    from x86emu.bus.clock import Clock, Event
    from x86emu.bus.irq import IrqLine

RBR = THR = DLL = 0
IER = DLM = 1
IIR = FCR = 2
LCR = 3
MCR = 4
LSR = 5
MSR = 6
SCR = 7

IER_RECEIVED_DATA = 0x01
IER_THR_EMPTY = 0x02
IER_LINE_STATUS = 0x04
IER_MODEM_STATUS = 0x08

# Interrupt identification, highest priority first (data sheet table IV).
IIR_NONE = 0x01
IIR_LINE_STATUS = 0x06
IIR_RECEIVED_DATA = 0x04
IIR_CHARACTER_TIMEOUT = 0x0C
IIR_THR_EMPTY = 0x02
IIR_MODEM_STATUS = 0x00
IIR_FIFOS_ENABLED = 0xC0

FCR_ENABLE = 0x01
FCR_RESET_RECEIVER = 0x02
FCR_RESET_TRANSMITTER = 0x04
FIFO_DEPTH = 16
TRIGGER_LEVELS = (1, 4, 8, 14)

LCR_STOP_BITS = 0x04
LCR_PARITY = 0x08
LCR_BREAK = 0x40
LCR_DLAB = 0x80

MCR_DTR = 0x01
MCR_RTS = 0x02
MCR_OUT1 = 0x04
MCR_OUT2 = 0x08
MCR_LOOP = 0x10

LSR_DATA_READY = 0x01
LSR_OVERRUN = 0x02
LSR_PARITY = 0x04
LSR_FRAMING = 0x08
LSR_BREAK = 0x10
LSR_THR_EMPTY = 0x20
LSR_TRANSMITTER_EMPTY = 0x40
LSR_FIFO_ERROR = 0x80
LSR_CHARACTER_ERRORS = LSR_PARITY | LSR_FRAMING | LSR_BREAK
LSR_ERRORS = LSR_OVERRUN | LSR_CHARACTER_ERRORS

MSR_CTS = 0x10
MSR_DSR = 0x20
MSR_RI = 0x40
MSR_DCD = 0x80

CRYSTAL_HZ = 1_843_200
UNPACED_CHARACTER_NS = 10_000


class Uart16550(Device):
    """One serial port.

    `irq` is the line to the interrupt controller (IRQ 4 for COM1), `output` takes what the guest sends,
    `break_output` is told when the guest starts (True) and ends (False) a break.
    """

    STATE = (
        "_ier", "_fcr", "_lcr", "_mcr", "_scr", "_dll", "_dlm", "_errors", "_deltas", "_modem_lines", "_inputs",
        "_thr_empty_pending", "_timeout_pending", "_receiver", "_transmitter", "_shifting", "_incoming", "deadlines",
    )  # fmt: skip

    def __init__(
        self,
        irq: IrqLine,
        clock: Clock,
        output: Callable[[bytes], object] | None = None,
        *,
        name: str = "16550A",
        paced: bool = False,
        break_output: Callable[[bool], object] | None = None,
    ) -> None:
        super().__init__(name)
        self.irq = irq
        self.clock = clock
        self.output = output
        self.paced = paced
        self.break_output = break_output
        self._incoming: deque[tuple[int, int]] = deque()
        self._inputs = MSR_CTS | MSR_DSR | MSR_DCD
        self._receive_event: Event | None = None
        self._transmit_event: Event | None = None
        self._timeout_event: Event | None = None
        self._scr = 0
        self._dll = 1
        self._dlm = 0
        self.reset()

    def reset(self) -> None:
        """Master reset (data sheet table I). The divisor latch and the scratch register keep their values."""
        self._ier = 0
        self._fcr = 0
        self._lcr = 0
        self._mcr = 0
        self._errors = 0
        self._deltas = 0
        self._receiver: deque[tuple[int, int]] = deque()
        self._transmitter: deque[int] = deque()
        self._shifting: int | None = None
        self._thr_empty_pending = False
        self._timeout_pending = False
        self._modem_lines = self._inputs
        for event in (self._receive_event, self._transmit_event, self._timeout_event):
            self.clock.cancel(event)
        self._receive_event = self._transmit_event = self._timeout_event = None
        self._update_irq()
        self._feed()

    # --- host side

    def receive(self, data: bytes) -> None:
        """Queues characters from the host; they enter the receiver one character time apart as it has room."""
        self._incoming.extend((character, 0) for character in data)
        self._feed()

    def receive_break(self) -> None:
        """Queues a break condition: a zero character with the break and framing bits of LSR."""
        self._incoming.append((0, LSR_BREAK | LSR_FRAMING))
        self._feed()

    def receive_damaged(self, character: int, *, parity: bool = False, framing: bool = False) -> None:
        """Queues a character that arrives with a parity or a framing error."""
        self._incoming.append((character & 0xFF, (LSR_PARITY if parity else 0) | (LSR_FRAMING if framing else 0)))
        self._feed()

    def set_modem_inputs(self, *, cts: bool = True, dsr: bool = True, ri: bool = False, dcd: bool = True) -> None:
        """Sets the four modem status inputs."""
        self._inputs = MSR_CTS * cts | MSR_DSR * dsr | MSR_RI * ri | MSR_DCD * dcd
        self._update_modem_lines()

    @property
    def pending_input(self) -> int:
        """Characters given by the host that the receiver has not taken yet."""
        return len(self._incoming)

    # --- guest side

    def read(self, offset: int, size: int) -> int:
        """Reads one register; reading RBR, IIR, LSR and MSR has the data sheet's side effects."""
        if offset == LSR:
            return self._read_lsr()
        if offset == RBR:
            return self._dll if self._lcr & LCR_DLAB else self._read_rbr()
        if offset == IER:
            return self._dlm if self._lcr & LCR_DLAB else self._ier
        if offset == IIR:
            identification = self._identification()
            if identification == IIR_THR_EMPTY:
                self._thr_empty_pending = False
                self._update_irq()
            return identification | (IIR_FIFOS_ENABLED if self._fcr & FCR_ENABLE else 0)
        if offset == LCR:
            return self._lcr
        if offset == MCR:
            return self._mcr
        if offset == MSR:
            value = self._modem_lines | self._deltas
            self._deltas = 0
            self._update_irq()
            return value
        return self._scr

    def write(self, offset: int, size: int, value: int) -> None:
        """Writes one register. LSR and MSR are read-only (the data sheet keeps their writes for factory tests)."""
        if offset == THR:
            if self._lcr & LCR_DLAB:
                self._dll = value
            else:
                self._write_thr(value)
        elif offset == IER:
            if self._lcr & LCR_DLAB:
                self._dlm = value
            else:
                # Enabling the interrupt while THR is empty raises it at once (chapter 8.6).
                if value & ~self._ier & IER_THR_EMPTY and not self._transmitter:
                    self._thr_empty_pending = True
                self._ier = value & 0x0F
                self._update_irq()
        elif offset == FCR:
            self._write_fcr(value)
        elif offset == LCR:
            changed = self._lcr ^ value
            self._lcr = value
            if changed & LCR_BREAK:
                self._set_break(bool(value & LCR_BREAK))
        elif offset == MCR:
            self._mcr = value & 0x1F
            self._update_modem_lines()
            self._update_irq()
            self._feed()
        elif offset == SCR:
            self._scr = value

    def _read_rbr(self) -> int:
        if not self._receiver:
            return 0
        character, _ = self._receiver.popleft()
        self._timeout_pending = False
        self._take_errors()
        self._restart_timeout()
        self._update_irq()
        self._feed()
        return character

    def _read_lsr(self) -> int:
        value = self._errors
        if self._receiver:
            value |= LSR_DATA_READY
            if self._fcr & FCR_ENABLE and (
                self._errors & LSR_CHARACTER_ERRORS or any(errors for _, errors in self._receiver)
            ):
                value |= LSR_FIFO_ERROR
        if not self._transmitter:
            value |= LSR_THR_EMPTY
            if self._shifting is None:
                value |= LSR_TRANSMITTER_EMPTY
        if self._errors:
            self._errors = 0
            self._update_irq()
        return value

    def _write_fcr(self, value: int) -> None:
        # Bits other than the enable are programmed only when the enable is written as one (chapter 8.3).
        if (value ^ self._fcr) & FCR_ENABLE:
            value |= FCR_RESET_RECEIVER | FCR_RESET_TRANSMITTER
        if value & FCR_RESET_RECEIVER:
            self._receiver.clear()
            self._timeout_pending = False
            self._restart_timeout()
        if value & FCR_RESET_TRANSMITTER:
            self._transmitter.clear()
        self._fcr = value & 0xC9 if value & FCR_ENABLE else 0
        self._update_irq()
        self._feed()

    # --- transmitter

    def _write_thr(self, value: int) -> None:
        depth = FIFO_DEPTH if self._fcr & FCR_ENABLE else 1
        if len(self._transmitter) >= depth:
            self._transmitter.pop()  # the newest character is overwritten: the guest did not wait for THRE
        self._thr_empty_pending = False
        if self.paced:
            self._transmitter.append(value)
            self._update_irq()
            if self._shifting is None:
                self._start_shifting()
            return
        self._update_irq()
        self._send(value)
        self._thr_empty_pending = True
        self._update_irq()

    def _start_shifting(self) -> None:
        self._shifting = self._transmitter.popleft()
        if not self._transmitter:
            self._thr_empty_pending = True
            self._update_irq()
        self._transmit_event = self.clock.schedule(self.clock.now() + self._character_ns(), self._shifted_out)

    def _shifted_out(self) -> None:
        self._transmit_event = None
        character, self._shifting = self._shifting, None
        if character is not None:
            self._send(character)
        if self._transmitter:
            self._start_shifting()

    def _send(self, value: int) -> None:
        value &= (1 << (5 + (self._lcr & 3))) - 1
        if self._mcr & MCR_LOOP:
            self._arrive(value, 0)
        elif self.output is not None and not self._lcr & LCR_BREAK:
            self.output(bytes((value,)))

    def _set_break(self, on: bool) -> None:
        if self._mcr & MCR_LOOP:
            if on:
                self._arrive(0, LSR_BREAK | LSR_FRAMING)
        elif self.break_output is not None:
            self.break_output(on)

    def _character_ns(self) -> int:
        if not self.paced:
            return UNPACED_CHARACTER_NS
        bits = 1 + 5 + (self._lcr & 3) + bool(self._lcr & LCR_PARITY) + (2 if self._lcr & LCR_STOP_BITS else 1)
        divisor = self._dlm << 8 | self._dll or 0x10000
        return bits * divisor * 16 * 1_000_000_000 // CRYSTAL_HZ

    # --- receiver

    def _feed(self) -> None:
        """Lets the next host character arrive one character time from now, if there is one and room for it."""
        if self._receive_event is None and self._incoming and not self._mcr & MCR_LOOP:
            depth = FIFO_DEPTH if self._fcr & FCR_ENABLE else 1
            if self.paced or len(self._receiver) < depth:
                self._receive_event = self.clock.schedule(self.clock.now() + self._character_ns(), self._received)

    def _received(self) -> None:
        self._receive_event = None
        if self._incoming and not self._mcr & MCR_LOOP:
            depth = FIFO_DEPTH if self._fcr & FCR_ENABLE else 1
            if self.paced or len(self._receiver) < depth:
                self._arrive(*self._incoming.popleft())
        self._feed()

    def _arrive(self, character: int, errors: int) -> None:
        character &= (1 << (5 + (self._lcr & 3))) - 1
        if self._fcr & FCR_ENABLE:
            if len(self._receiver) >= FIFO_DEPTH:
                self._errors |= LSR_OVERRUN  # the FIFO keeps what it has, the character is lost
                self._update_irq()
                return
        elif self._receiver:
            self._errors |= LSR_OVERRUN
            self._receiver.clear()  # the character replaces the one in RBR
        self._receiver.append((character, errors))
        if len(self._receiver) == 1:
            self._take_errors()
        self._restart_timeout()
        self._update_irq()

    def _take_errors(self) -> None:
        """The errors of a character show in LSR once it is at the top of the FIFO."""
        if self._receiver:
            character, errors = self._receiver[0]
            if errors:
                self._errors |= errors
                self._receiver[0] = (character, 0)

    def _restart_timeout(self) -> None:
        """Four character times with data waiting and neither an arrival nor a read give the time-out interrupt."""
        self.clock.cancel(self._timeout_event)
        self._timeout_event = None
        if self._receiver and self._fcr & FCR_ENABLE:
            self._timeout_event = self.clock.schedule(
                self.clock.now() + 4 * self._character_ns(), self._character_timeout
            )

    def _character_timeout(self) -> None:
        self._timeout_event = None
        self._timeout_pending = bool(self._receiver)
        self._update_irq()

    # --- modem status and interrupts

    def _update_modem_lines(self) -> None:
        if self._mcr & MCR_LOOP:
            lines = (
                (MSR_CTS if self._mcr & MCR_RTS else 0)
                | (MSR_DSR if self._mcr & MCR_DTR else 0)
                | (MSR_RI if self._mcr & MCR_OUT1 else 0)
                | (MSR_DCD if self._mcr & MCR_OUT2 else 0)
            )
        else:
            lines = self._inputs
        changed = lines ^ self._modem_lines
        self._modem_lines = lines
        # Delta bits 0, 1 and 3 note any change; bit 2 only the trailing edge of the ring indicator.
        self._deltas |= (changed & (MSR_CTS | MSR_DSR | MSR_DCD) | changed & ~lines & MSR_RI) >> 4
        self._update_irq()

    def _identification(self) -> int:
        if self._ier & IER_LINE_STATUS and self._errors:
            return IIR_LINE_STATUS
        if self._ier & IER_RECEIVED_DATA:
            trigger = TRIGGER_LEVELS[self._fcr >> 6] if self._fcr & FCR_ENABLE else 1
            if len(self._receiver) >= trigger:
                return IIR_RECEIVED_DATA
            if self._timeout_pending:
                return IIR_CHARACTER_TIMEOUT
        if self._ier & IER_THR_EMPTY and self._thr_empty_pending:
            return IIR_THR_EMPTY
        if self._ier & IER_MODEM_STATUS and self._deltas:
            return IIR_MODEM_STATUS
        return IIR_NONE

    def _update_irq(self) -> None:
        if self._ier:
            self.irq.set_level(bool(self._mcr & MCR_OUT2) and self._identification() != IIR_NONE)
        elif self.irq.level:
            self.irq.set_level(False)

    # --- state

    @property
    def deadlines(self) -> list[int | None]:
        """When a character has arrived, has left, and has waited too long, in nanoseconds."""
        events = (self._receive_event, self._transmit_event, self._timeout_event)
        return [None if event is None else event.deadline for event in events]

    @deadlines.setter
    def deadlines(self, deadlines: list[int | None]) -> None:
        for event in (self._receive_event, self._transmit_event, self._timeout_event):
            self.clock.cancel(event)
        self._receive_event, self._transmit_event, self._timeout_event = (
            None if deadline is None else self.clock.schedule(deadline, callback)
            for deadline, callback in zip(
                deadlines, (self._received, self._shifted_out, self._character_timeout), strict=True
            )
        )

    def loaded(self) -> None:
        self._update_irq()
