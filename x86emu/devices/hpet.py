"""The high precision event timer: one 64-bit counter, three comparators.

IA-PC HPET specification 1.0a, chapter 2. The counter runs at 100 MHz (10 ns of virtual time); all three timers can be
periodic and 64 bits wide; FSB (message) delivery is absent. Legacy replacement gives timers 0 and 1 the lines of the
8254 and of the real-time clock, which the machine wires through this device. What guests spin on is in hpet_page.pyx.
"""

from __future__ import annotations

from typing import Any

from x86emu.bus.clock import Clock, Event
from x86emu.bus.device import Device
from x86emu.bus.irq import IrqLine, IrqSink
from x86emu.devices.hpet_page import HpetPage

PERIOD_NS = 10
CAPABILITIES, CONFIGURATION, INTERRUPT_STATUS, MAIN_COUNTER = 0x000, 0x010, 0x020, 0x0F0
TIMERS, TIMER_STRIDE = 0x100, 0x20
TIMER_CONFIGURATION, COMPARATOR = 0x00, 0x08

ENABLE, LEGACY_REPLACEMENT = 1, 2

# Timer configuration register (2.3.8)
LEVEL, INTERRUPT_ENABLE, PERIODIC, PERIODIC_CAPABLE, SIZE_64, SET_VALUE, MODE_32 = 2, 4, 8, 0x10, 0x20, 0x40, 0x100
ROUTE_SHIFT, ROUTE = 9, 0x3E00
TIMER_WRITABLE = LEVEL | INTERRUPT_ENABLE | PERIODIC | SET_VALUE | MODE_32 | ROUTE

MASK_64 = (1 << 64) - 1
MASK_32 = (1 << 32) - 1
LEGACY_LINES = {0: 0, 1: 8}
FAR = 1 << 62  # ns


class Timer:
    """One comparator: its configuration, the compare value and, if periodic, the increment."""

    def __init__(self, number: int, routes: int) -> None:
        self.number = number
        self.routes = routes
        self.reset()
        self.event: Event | None = None

    def reset(self) -> None:
        """Disabled, comparator all ones."""
        self.configuration = PERIODIC_CAPABLE | SIZE_64
        self.comparator = MASK_64
        self.period = 0
        self.matched_at: int | None = None  # the main counter at the last match
        self.line: IrqLine | None = None  # the one that is asserted or was last pulsed

    @property
    def mask(self) -> int:
        """All ones in the timer's width."""
        return MASK_32 if self.configuration & MODE_32 else MASK_64


class Hpet(Device):
    """Map `read`/`write` at FED00000h, 400h bytes, `sizes=(4, 8)`, `native=hpet.page.native`.

    `ioapic` is the sink for routed interrupts, by pin; `isa` for the legacy lines 0 and 8, by number. Wire the 8254
    and the real-time clock to this device's `set_irq` (0 and 8): it passes them on to `isa` unless in legacy
    replacement mode. `routes` has a bit for each I/O APIC pin that timers may use.
    """

    def __init__(
        self, clock: Clock, ioapic: IrqSink | None = None, isa: IrqSink | None = None, *, routes: int = 0x00FF_0104
    ) -> None:
        super().__init__("hpet")
        self.clock = clock
        self.isa = isa
        self.pins = [IrqLine(ioapic, pin, f"hpet pin {pin}") for pin in range(32)]
        self.legacy = {0: IrqLine(isa, 0, "hpet irq 0"), 8: IrqLine(isa, 8, "hpet irq 8")}
        self.inputs = {0: False, 8: False}
        self.timers = [Timer(number, routes) for number in range(3)]
        self.configuration = self.status = 0
        self.stopped_at = 0  # the counter while disabled
        self.started = 0  # virtual time at which the counter would have been 0, while enabled
        self.page = HpetPage(self, self.timers, clock)

    def reset(self) -> None:
        for timer in self.timers:
            self._lower(timer)
            timer.reset()
        self.configuration = self.status = self.stopped_at = 0
        for number, level in self.inputs.items():
            self.legacy[number].set_level(level)
        self._schedule_all()

    # The lines of the 8254 and the real-time clock

    def set_irq(self, number: int, level: bool) -> None:
        """Line 0 (8254) or 8 (real-time clock) changes."""
        self.inputs[number] = level
        if not self.configuration & LEGACY_REPLACEMENT:
            self.legacy[number].set_level(level)

    # Time

    def counter(self) -> int:
        """The main counter."""
        if not self.configuration & ENABLE:
            return self.stopped_at
        return (self.clock.now() - self.started) // PERIOD_NS & MASK_64

    def _schedule(self, timer: Timer) -> None:
        """Puts a timer's next match on the clock."""
        self.clock.cancel(timer.event)
        timer.event = None
        self.page.publish_timer(timer.number, not timer.configuration & (INTERRUPT_ENABLE | PERIODIC))
        if not self.configuration & ENABLE or not timer.configuration & INTERRUPT_ENABLE:
            return
        counter = self.counter()
        distance = timer.comparator - counter & timer.mask
        if distance == 0 and timer.matched_at == counter:
            distance = timer.mask + 1  # once per match: the next one is a whole turn away
        deadline = self.started + ((self.clock.now() - self.started) // PERIOD_NS + distance) * PERIOD_NS
        if deadline < FAR:
            timer.event = self.clock.schedule(deadline, lambda: self._match(timer))

    def _schedule_all(self) -> None:
        self.page.publish_counter(bool(self.configuration & ENABLE), self.started)
        for timer in self.timers:
            self._schedule(timer)

    def _match(self, timer: Timer) -> None:
        timer.event = None
        timer.matched_at = self.counter()
        if timer.configuration & PERIODIC and timer.period:
            behind = self.counter() - timer.comparator & timer.mask
            timer.comparator = timer.comparator + (behind // timer.period + 1) * timer.period & timer.mask
        self._interrupt(timer)
        self._schedule(timer)

    def _catch_up(self, timer: Timer) -> None:
        """A match that is due, but not yet run because the slice goes on, comes before what changes the timer."""
        if timer.event is not None and timer.event.deadline <= self.clock.now():
            self.clock.cancel(timer.event)
            self._match(timer)

    # Interrupts

    def _line_of(self, timer: Timer) -> IrqLine:
        if self.configuration & LEGACY_REPLACEMENT and timer.number in LEGACY_LINES:
            return self.legacy[LEGACY_LINES[timer.number]]
        return self.pins[(timer.configuration & ROUTE) >> ROUTE_SHIFT]

    def _interrupt(self, timer: Timer) -> None:
        line = self._line_of(timer)
        timer.line = line
        if timer.configuration & LEVEL:
            self.status |= 1 << timer.number
            line.raise_()
        else:
            line.pulse()

    def _lower(self, timer: Timer) -> None:
        if timer.line is not None:
            timer.line.lower()
            timer.line = None

    # Registers

    def _get(self, register: int) -> int:
        if register == CAPABILITIES:
            # revision 1, three timers, 64 bits, legacy replacement, Intel; the period in femtoseconds above
            return PERIOD_NS * 1_000_000 << 32 | 0x8086 << 16 | 1 << 15 | 1 << 13 | 2 << 8 | 1
        if register == CONFIGURATION:
            return self.configuration
        if register == INTERRUPT_STATUS:
            return self.status
        if register == MAIN_COUNTER:
            return self.counter()
        number, register = divmod(register - TIMERS, TIMER_STRIDE)
        if not 0 <= number < len(self.timers):
            return 0
        timer = self.timers[number]
        self._catch_up(timer)
        if register == TIMER_CONFIGURATION:
            return timer.routes << 32 | timer.configuration
        if register == COMPARATOR:
            return timer.comparator & timer.mask
        return 0

    def read(self, offset: int, size: int) -> int:
        """Any part of a 64-bit register."""
        return self._get(offset & ~7) >> 8 * (offset & 7) & (1 << 8 * size) - 1

    def write(self, offset: int, size: int, value: int) -> None:
        """A dword or quadword of a register."""
        if size < 4 or offset & (size - 1):
            return
        register, shift = offset & ~7, 8 * (offset & 7)
        mask = (1 << 8 * size) - 1 << shift
        value = value << shift & mask
        if register == CONFIGURATION:
            self._set_configuration(self.configuration & ~mask | value)
        elif register == INTERRUPT_STATUS:
            for timer in self.timers:
                if value & self.status & 1 << timer.number:
                    self.status &= ~(1 << timer.number)
                    self._lower(timer)
        elif register == MAIN_COUNTER:
            counter = self.counter() & ~mask | value
            self.stopped_at = counter
            self.started = self.clock.now() - counter * PERIOD_NS
            self._schedule_all()
        elif register >= TIMERS:
            number, register = divmod(register - TIMERS, TIMER_STRIDE)
            if number < len(self.timers):
                self._set_timer(self.timers[number], register, value, mask)

    def _set_configuration(self, value: int) -> None:
        for timer in self.timers:
            self._catch_up(timer)
        counter = self.counter()
        changed = (self.configuration ^ value) & LEGACY_REPLACEMENT
        switched = (self.configuration ^ value) & ENABLE
        if changed:
            for timer in self.timers:
                if timer.number in LEGACY_LINES:
                    self._lower(timer)
        self.configuration = value & (ENABLE | LEGACY_REPLACEMENT)
        if switched:
            self.stopped_at = counter
            self.started = self.clock.now() - counter * PERIOD_NS
        if changed:
            replaced = bool(value & LEGACY_REPLACEMENT)
            for number, level in self.inputs.items():
                self.legacy[number].set_level(level and not replaced)
        self._schedule_all()

    def _set_timer(self, timer: Timer, register: int, value: int, mask: int) -> None:
        self._catch_up(timer)
        if register == TIMER_CONFIGURATION:
            writable = TIMER_WRITABLE & mask
            before = timer.configuration
            after = before & ~writable | value & writable
            route = (after & ROUTE) >> ROUTE_SHIFT
            if not timer.routes >> route & 1:  # 2.3.8: an unsupported route does not stick
                after = after & ~ROUTE | before & ROUTE
            if not after & PERIODIC:
                after &= ~SET_VALUE
            if (before ^ after) & (LEVEL | INTERRUPT_ENABLE | ROUTE):
                self._lower(timer)
                self.status &= ~(1 << timer.number)
            timer.configuration = after
        elif register == COMPARATOR:
            if timer.configuration & PERIODIC:
                timer.period = (timer.period & ~mask | value) & timer.mask
                if timer.configuration & SET_VALUE:
                    timer.comparator = timer.comparator & ~mask | value
                    timer.configuration &= ~SET_VALUE
            else:
                timer.comparator = timer.comparator & ~mask | value
        self._schedule(timer)

    # Snapshots

    def save(self) -> dict[str, object]:
        return {
            "configuration": self.configuration,
            "status": self.status,
            "stopped_at": self.stopped_at,
            "started": self.started,
            "inputs": dict(self.inputs),
            "timers": [
                {name: getattr(timer, name) for name in ("configuration", "comparator", "period", "matched_at")}
                for timer in self.timers
            ],
            "legacy": {number: line.level for number, line in self.legacy.items()},
            "pins": [line.level for line in self.pins],
        }

    def load(self, state: dict[str, Any]) -> None:
        self.configuration, self.status = state["configuration"], state["status"]
        self.stopped_at, self.started = state["stopped_at"], state["started"]
        self.inputs = dict(state["inputs"])
        for timer, saved in zip(self.timers, state["timers"], strict=True):
            timer.configuration, timer.comparator = saved["configuration"], saved["comparator"]
            timer.period, timer.matched_at = saved["period"], saved["matched_at"]
            timer.line = self._line_of(timer)
        for number, level in state["legacy"].items():
            self.legacy[number].set_level(level)
        for line, level in zip(self.pins, state["pins"], strict=True):
            line.set_level(level)
        self._schedule_all()
