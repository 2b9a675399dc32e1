"""The 8254 programmable interval timer, and port 61h with its speaker gate.

Intel 8254 data sheet (order number 231164): control word, counter latch and read-back commands, modes 0 to 5,
"Mode definitions". Port 61h: 82371SB (PIIX3) data sheet, NMI status and control register. The input clock is
1 193 182 Hz. Nothing happens per tick: counts and outputs are computed from virtual time with integers, and an event
is scheduled only where counter 0's output gives an edge. Departures: a count of 1 in modes 2 and 3 (illegal by the
data sheet) leaves the output high; counter 0's output pulse of one tick in modes 2 and 4 reaches the interrupt line
as one edge at its end; the refresh bit of port 61h toggles every 18 ticks, as a BIOS programs counter 1.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from x86emu.bus.clock import Clock, Event
from x86emu.bus.device import Device
from x86emu.bus.irq import IrqLine
from x86emu.devices.port61 import SpeakerPort

FREQUENCY = 1_193_182  # Hz
SECOND = 1_000_000_000  # ns
REFRESH_TICKS = 18

# Port 61h
GATE2, SPEAKER_DATA, WRITABLE_61, REFRESH, OUTPUT2 = 0x01, 0x02, 0x0F, 0x10, 0x20

LSB, MSB, LSB_THEN_MSB = 1, 2, 3


def ticks_at(nanoseconds: int) -> int:
    """Clock pulses that have passed at a virtual time."""
    return nanoseconds * FREQUENCY // SECOND


def time_of_tick(tick: int) -> int:
    """The first nanosecond at which `tick` pulses have passed."""
    return -(-tick * SECOND // FREQUENCY)


def from_bcd(value: int) -> int:
    """Four decimal digits to a number; digits above 9 count by their weight."""
    return sum((value >> 4 * digit & 0xF) * 10**digit for digit in range(4))


def to_bcd(value: int) -> int:
    """A number to four decimal digits."""
    return sum(value // 10**digit % 10 << 4 * digit for digit in range(4))


class Counter(Device):
    """One of the three counters. All times are in ticks of the input clock.

    While `running`, the counting element was (or will be, on the next pulse) loaded with `reload` at tick `origin`;
    `pending` is a count that was written while counting and waits for the end of the period (mode 2) or half period
    (mode 3). `frozen` and `idle_output` are count and output while nothing is loaded yet.
    """

    STATE = (
        "control", "count_register", "written", "running", "origin", "reload", "starts_high", "pending", "frozen",
        "idle_output", "gate", "paused_at", "low_byte", "write_high_next", "read_high_next", "latched_count",
        "latched_status", "loaded_at",
    )  # fmt: skip

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.reset()

    def reset(self) -> None:
        self.control = 0x30  # LSB then MSB, mode 0, binary: undefined by the data sheet
        self.count_register = self.frozen = self.origin = self.reload = self.low_byte = 0
        self.written = self.running = self.idle_output = False
        self.starts_high = self.gate = True
        self.pending: int | None = None
        self.paused_at: int | None = None
        self.loaded_at: int | None = None
        self.write_high_next = self.read_high_next = False
        self.latched_count: int | None = None
        self.latched_status: int | None = None

    @property
    def mode(self) -> int:
        """0 to 5; 6 and 7 in the control word are 2 and 3."""
        mode = self.control >> 1 & 7
        return mode - 4 if mode > 5 else mode

    @property
    def access(self) -> int:
        """Which bytes are read and written: LSB, MSB or LSB_THEN_MSB."""
        return self.control >> 4 & 3

    @property
    def modulus(self) -> int:
        """How many counts there are: 65536, or 10000 in BCD."""
        return 10_000 if self.control & 1 else 0x10000

    # Counting

    def settle(self, tick: int) -> None:
        """Lets a waiting count take effect if its time has come by `tick`."""
        if self.pending is None or not self.running or tick < self.origin:
            return
        switch, high = self._next_boundary(self.loaded_at if self.loaded_at is not None else self.origin)
        if tick >= switch:
            self.origin, self.reload, self.starts_high = switch, self.pending, high
            self.pending = None

    def _next_boundary(self, after: int) -> tuple[int, bool]:
        """The first end of a period (mode 2) or half period (mode 3) after a tick, and the output from there on."""
        since = max(after - self.origin, 0)
        if self.mode == 2:
            return self.origin + (since // self.reload + 1) * self.reload, True
        first = self._high_ticks if self.starts_high else self.reload // 2
        begin = since // self.reload * self.reload
        if since - begin < first:
            return self.origin + begin + first, not self.starts_high
        return self.origin + begin + self.reload, self.starts_high

    @property
    def _high_ticks(self) -> int:
        """Mode 3: high for half the count, rounded up."""
        return (self.reload + 1) // 2

    def _elapsed(self, tick: int) -> int:
        return (tick if self.paused_at is None else self.paused_at) - self.origin

    def _half(self, elapsed: int) -> tuple[bool, int]:
        """Mode 3: the output, and ticks since the half period began."""
        position = (elapsed + (0 if self.starts_high else self._high_ticks)) % self.reload
        high = position < self._high_ticks
        return high, position if high else position - self._high_ticks

    def count(self, tick: int) -> int:
        """The counting element at a tick, as a number."""
        self.settle(tick)
        elapsed = self._elapsed(tick)
        if not self.running or elapsed < 0:
            return self.frozen
        if self.mode == 2:
            return (self.reload - elapsed % self.reload) % self.modulus
        if self.mode == 3:  # counts down by two, from an even number
            return ((self.reload & ~1) - 2 * self._half(elapsed)[1]) % self.modulus
        return (self.reload - elapsed) % self.modulus

    def output(self, tick: int) -> bool:
        """The OUT pin at a tick."""
        self.settle(tick)
        elapsed = self._elapsed(tick)
        if not self.running or elapsed < 0:
            return self.idle_output
        if self.mode in (0, 1):
            return elapsed >= self.reload
        if self.mode == 2:
            return self.reload == 1 or elapsed % self.reload != self.reload - 1
        if self.mode == 3:
            return self._half(elapsed)[0]
        return elapsed != self.reload

    def next_edge(self, tick: int) -> int | None:
        """The next tick at which the output ends a pulse (modes 2 and 4) or changes; None if it stays as it is."""
        self.settle(tick)
        if not self.running or self.paused_at is not None:
            return None
        if self.mode in (2, 3):
            if self.reload == 1 and self.pending is None:
                return None
            return self._next_boundary(tick)[0] if tick >= self.origin else self.origin + self._first_ticks
        end = self.origin + self.reload + (self.mode >= 4)
        return end if tick < end else None

    @property
    def _first_ticks(self) -> int:
        if self.mode == 2:
            return self.reload
        return self._high_ticks if self.starts_high else self.reload // 2

    def _load(self, tick: int) -> None:
        """Loads the counting element on the pulse after `tick`."""
        self.frozen = self.count(tick)
        self.running = True
        self.starts_high = True
        self.origin = self.loaded_at = tick + 1
        self.reload = self.count_register
        self.pending = None
        self.paused_at = self.origin if self.mode in (0, 4) and not self.gate else None

    # Commands

    def write_control(self, control: int, tick: int) -> None:
        """A control word: programs mode and access; the output takes its initial level."""
        self.frozen = self.count(tick)
        self.control = control & 0x3F
        self.running = self.written = False
        self.pending = self.paused_at = self.loaded_at = self.latched_count = self.latched_status = None
        self.write_high_next = self.read_high_next = False
        self.idle_output = self.mode != 0

    def write_count(self, value: int, tick: int) -> None:
        """One byte of a count."""
        if self.access == LSB_THEN_MSB and not self.write_high_next:
            self.low_byte = value
            self.write_high_next = True
            if self.mode == 0:  # the first byte stops counting and the output is low at once
                self.frozen = self.count(tick)
                self.running = self.idle_output = False
            return
        self.write_high_next = False
        raw = {LSB: value, MSB: value << 8}.get(self.access, value << 8 | self.low_byte)
        self.count_register = (from_bcd(raw) if self.control & 1 else raw) or self.modulus
        self.written = True
        if self.mode in (1, 5):  # waits for a trigger
            self.loaded_at = None
        elif self.mode in (2, 3):
            if self.running:
                self.settle(tick)
                self.pending = self.count_register
                self.loaded_at = max(tick, self.origin)
            elif self.gate:
                self._load(tick)
        else:
            self.idle_output = self.mode != 0
            self._load(tick)

    def latch_count(self, tick: int) -> None:
        """The counter latch command: the count is held until it has been read."""
        if self.latched_count is None:
            self.latched_count = self._visible(tick)

    def latch_status(self, tick: int) -> None:
        """The read-back command's status byte: OUT, null count, and the control word."""
        if self.latched_status is None:
            self.latched_status = self.output(tick) << 7 | self._null_count(tick) << 6 | self.control

    def _null_count(self, tick: int) -> bool:
        """Whether the last count written is not yet in the counting element."""
        self.settle(tick)
        return not self.written or self.pending is not None or self.loaded_at is None or tick < self.loaded_at

    def _visible(self, tick: int) -> int:
        count = self.count(tick)
        return to_bcd(count) if self.control & 1 else count

    def read(self, tick: int) -> int:
        """One byte: the latched status, else the latched count, else the running count."""
        if self.latched_status is not None:
            status, self.latched_status = self.latched_status, None
            return status
        # A read takes about a tick on the ISA bus: a count that was written before it is loaded by then.
        if self.running and self.loaded_at is not None and tick < self.loaded_at and self.pending is None:
            tick = self.loaded_at
        value = self.latched_count if self.latched_count is not None else self._visible(tick)
        if self.access == LSB_THEN_MSB:
            high, self.read_high_next = self.read_high_next, not self.read_high_next
            if high:
                self.latched_count = None
        else:
            high = self.access == MSB
            self.latched_count = None
        return value >> 8 if high else value & 0xFF

    def set_gate(self, level: bool, tick: int) -> None:
        """Drives GATE ("Gate pin operations summary")."""
        if level == self.gate:
            return
        self.frozen = self.count(tick)
        self.gate = level
        mode = self.mode
        if mode in (0, 4):
            if not self.running:
                return
            if not level:
                self.paused_at = max(tick, self.origin)
            elif self.paused_at is not None:
                self.origin += max(tick - self.paused_at, 0)
                self.paused_at = None
        elif mode in (2, 3) and not level:
            self.running, self.idle_output = False, True
            self.pending = None
        elif level and self.written:
            if mode in (1, 5):
                self.idle_output = self.output(tick)
            self._load(tick)


class I8254(Device):
    """The timer at ports 40h-43h and port 61h. Counter 0 drives `irq0`, counter 2 the speaker.

    Map `read`/`write` at 40h, four ports, byte-wide, and `read_port61`/`write_port61` at 61h, with `port61_native`.
    """

    def __init__(self, clock: Clock, irq0: IrqLine) -> None:
        super().__init__("i8254")
        self.clock = clock
        self.irq0 = irq0
        self.counters = tuple(Counter(f"i8254 counter {number}") for number in range(3))
        self.port61 = 0
        self._event: Event | None = None
        self.counters[2].gate = False
        self.speaker_changed: Callable[[], object] | None = None
        self._speaker = SpeakerPort(self, clock)
        self.port61_native = self._speaker.native
        self._publish()

    def reset(self) -> None:
        for counter in self.counters:
            counter.reset()
        self.counters[2].gate = False
        self.port61 = 0
        self._update()
        self._publish()

    def _publish(self) -> None:
        """Tells the C side of port 61h what counter 2 does; to be called after every access that may change it."""
        self._speaker.publish(self.port61, self.counters[2])
        if self.speaker_changed is not None:
            self.speaker_changed()

    def _tick(self) -> int:
        return ticks_at(self.clock.now())

    # Counter 0's interrupt

    def _update(self) -> None:
        tick = self._tick()
        self.irq0.set_level(self.counters[0].output(tick))
        self._schedule(tick)

    def _schedule(self, tick: int) -> None:
        self.clock.cancel(self._event)
        edge = self.counters[0].next_edge(tick)
        self._event = None if edge is None else self.clock.schedule(time_of_tick(edge), self._edge)

    def _edge(self) -> None:
        tick = self._tick()
        counter = self.counters[0]
        if counter.mode in (2, 4):
            self.irq0.pulse()
        else:
            self.irq0.set_level(counter.output(tick))
        self._schedule(tick)

    # Ports

    def read(self, offset: int, size: int) -> int:
        """Counters at offsets 0 to 2; the control word cannot be read."""
        value = 0xFF if offset == 3 else self.counters[offset].read(self._tick())
        if offset == 2:
            self._publish()
        return value

    def write(self, offset: int, size: int, value: int) -> None:
        """Counts at offsets 0 to 2, control words and commands at 3."""
        tick = self._tick()
        if offset < 3:
            self.counters[offset].write_count(value, tick)
        elif value >> 6 == 3:
            for number, counter in enumerate(self.counters):
                if value >> number + 1 & 1:
                    if not value & 0x20:
                        counter.latch_count(tick)
                    if not value & 0x10:
                        counter.latch_status(tick)
            return
        elif not value & 0x30:
            self.counters[value >> 6].latch_count(tick)
            return
        else:
            self.counters[value >> 6].write_control(value, tick)
        self._publish()
        if offset == 0 or offset == 3 and value >> 6 == 0:
            self._update()

    def read_port61(self, offset: int, size: int) -> int:
        """Gate and speaker bits as written, the refresh toggle, and counter 2's output."""
        tick = self._tick()
        refresh = REFRESH if tick // REFRESH_TICKS & 1 else 0
        output = OUTPUT2 if self.counters[2].output(tick) else 0
        self._publish()
        return self.port61 | refresh | output

    def write_port61(self, offset: int, size: int, value: int) -> None:
        """Bit 0 gates counter 2, bit 1 lets its output to the speaker; bits 2 and 3 are kept."""
        self.port61 = value & WRITABLE_61
        self.counters[2].set_gate(bool(value & GATE2), self._tick())
        self._publish()

    @property
    def speaker_frequency(self) -> float | None:
        """The tone in hertz that the speaker gives, or None when it is silent."""
        counter = self.counters[2]
        counter.settle(self._tick())
        if self.port61 & (GATE2 | SPEAKER_DATA) != GATE2 | SPEAKER_DATA or not counter.running or counter.mode != 3:
            return None
        return FREQUENCY / counter.reload

    # Snapshots

    def save(self) -> dict[str, object]:
        return {"counters": [counter.save() for counter in self.counters], "port61": self.port61}

    def load(self, state: dict[str, Any]) -> None:
        for counter, saved in zip(self.counters, state["counters"], strict=True):
            counter.load(saved)
        self.port61 = state["port61"]
        self._update()
        self._publish()
