"""MC146818 real-time clock with CMOS memory (Motorola MC146818A data sheet; 82371SB data sheet 2.5.6 for the ports).

Ports 70h (index, bit 7 masks NMI) and 71h (data); 72h/73h reach all 256 bytes as on the PIIX3.  The time follows the
virtual clock.  Time bytes are kept as the guest sees them, so a change of format leaves the bytes as on hardware.

* The 32.768 kHz time base only: dividers other than 010b hold the clock (the PC's crystal fits no other).
* Daylight saving (register B bit 0) and the square wave output are stored and do nothing.
* `century` (PC convention: 32h) is carried on when the year wraps, as chip sets do and the MC146818 does not.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING

from x86emu.bus.device import Device
from x86emu.devices.rtc_ports import RtcPorts

if TYPE_CHECKING:
    from x86emu.bus.clock import Clock, Event
    from x86emu.bus.irq import IrqLine

SECONDS, SECONDS_ALARM, MINUTES, MINUTES_ALARM, HOURS, HOURS_ALARM = range(6)
DAY_OF_WEEK, DAY_OF_MONTH, MONTH, YEAR = range(6, 10)
REGISTER_A, REGISTER_B, REGISTER_C, REGISTER_D = range(10, 14)

A_UPDATE_IN_PROGRESS = 0x80
A_DIVIDER = 0x70
A_DIVIDER_32768 = 0x20
A_RATE = 0x0F

B_SET = 0x80
B_PERIODIC = 0x40
B_ALARM = 0x20
B_UPDATE_ENDED = 0x10
B_SQUARE_WAVE = 0x08
B_BINARY = 0x04
B_24_HOURS = 0x02

C_INTERRUPT = 0x80
C_PERIODIC = 0x40
C_ALARM = 0x20
C_UPDATE_ENDED = 0x10

D_VALID = 0x80
NMI_MASK = 0x80

SECOND_NS = 1_000_000_000
CRYSTAL_HZ = 32_768
# UIP rises 244 us before the update cycle, which takes 1984 us at 32.768 kHz (data sheet, "Update cycle").
UPDATE_IN_PROGRESS_NS = 244_000 + 1_984_000
DAYS = (0, 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
DEFAULT_DATE = datetime(2025, 1, 1)


class Mc146818(Device):
    """The RTC. `irq` is IRQ 8; `nmi_mask` is told True when the guest masks NMI by port 70h.

    `cmos` gives the memory's first contents by index; time and status registers are the device's own. Map `read` and
    `write` at 70h, with `native`, which answers without Python where software waits for an update.
    """

    STATE = ("_memory", "_index", "_extended_index", "_phase", "_updates", "_ticks", "_flags")

    def __init__(
        self,
        irq: IrqLine,
        clock: Clock,
        *,
        date: datetime = DEFAULT_DATE,
        cmos: Mapping[int, int] | None = None,
        nmi_mask: Callable[[bool], object] | None = None,
        century: int | None = 0x32,
        name: str = "MC146818",
    ) -> None:
        super().__init__(name)
        self.irq = irq
        self.clock = clock
        self.nmi_mask = nmi_mask
        self.century = century
        self._memory = bytearray(256)
        self._ports = RtcPorts(self, clock, tells_mask=nmi_mask is not None)
        self.native = self._ports.native
        self._extended_index = 0
        self._event: Event | None = None
        for index, value in (cmos or {}).items():
            self._memory[index] = value
        self._memory[REGISTER_A] = A_DIVIDER_32768 | 6
        self._memory[REGISTER_B] = B_24_HOURS
        self._flags = 0
        self._phase = clock.now()  # an update ends at _phase + n seconds
        self._updates = 0  # how many of these moments have been accounted for
        self._ticks = 0  # the same for periodic ticks
        self.set_date(date)

    def reset(self) -> None:
        """The RESET pin: interrupt enables and flags are cleared, time and memory stay (the battery holds them)."""
        self._account()
        self._memory[REGISTER_B] &= ~(B_PERIODIC | B_ALARM | B_UPDATE_ENDED | B_SQUARE_WAVE) & 0xFF
        self._flags = 0
        self._index = 0
        self._update_irq()
        self._publish()

    @property
    def _index(self) -> int:
        return self._ports.index

    @_index.setter
    def _index(self, value: int) -> None:
        self._ports.index = value

    def _publish(self) -> None:
        updates = self._running() and not self._memory[REGISTER_B] & B_SET
        self._ports.publish(self._memory[REGISTER_A], updates, self._phase, UPDATE_IN_PROGRESS_NS)

    # --- host side

    def set_date(self, date: datetime) -> None:
        """Sets the calendar, in the format that register B asks for; the next update is one second from now."""
        self._phase = self.clock.now()
        self._updates = self._ticks = 0
        for index, value in (
            (SECONDS, date.second),
            (MINUTES, date.minute),
            (HOURS, date.hour),
            (DAY_OF_WEEK, date.isoweekday() % 7 + 1),
            (DAY_OF_MONTH, date.day),
            (MONTH, date.month),
            (YEAR, date.year % 100),
        ):
            self._encode(index, value)
        if self.century is not None:
            self._encode(self.century, date.year // 100)
        self._publish()
        self._schedule()

    @property
    def alarm_set(self) -> bool:
        """Whether an alarm that will come has its interrupt enabled."""
        enabled = self._memory[REGISTER_B] & (B_ALARM | B_SET) == B_ALARM
        return enabled and self._running() and self._seconds_until_alarm() is not None

    def date(self) -> datetime:
        """The calendar as the guest sees it now; with the century byte, else in 2000-2099."""
        self._account()
        century = self._decode(self.century) if self.century is not None else 20
        return datetime(
            century * 100 + self._decode(YEAR),
            self._decode(MONTH),
            self._decode(DAY_OF_MONTH),
            self._decode(HOURS),
            self._decode(MINUTES),
            self._decode(SECONDS),
        )

    def __getitem__(self, index: int) -> int:
        return self._memory[index]

    def __setitem__(self, index: int, value: int) -> None:
        """Sets a byte of CMOS memory on the machine's behalf."""
        self._memory[index] = value
        self._publish()

    # --- ports 70h, 71h and 72h, 73h

    def read(self, offset: int, size: int) -> int:
        """Port 70h is write-only and floats; 71h reads the byte under the index."""
        return self._read_byte(self._index) if offset else 0xFF

    def write(self, offset: int, size: int, value: int) -> None:
        """Port 70h: index and NMI mask; 71h: the byte under the index."""
        if offset:
            self._write_byte(self._index, value)
        else:
            self._index = value & 0x7F
            if self.nmi_mask is not None:
                self.nmi_mask(bool(value & NMI_MASK))

    def read_extended(self, offset: int, size: int) -> int:
        """Ports 72h and 73h: the same by an index of eight bits, without the NMI mask."""
        return self._read_byte(self._extended_index) if offset else self._extended_index

    def write_extended(self, offset: int, size: int, value: int) -> None:
        """Ports 72h and 73h: the same by an index of eight bits, without the NMI mask."""
        if offset:
            self._write_byte(self._extended_index, value)
        else:
            self._extended_index = value

    def _read_byte(self, index: int) -> int:
        if index >= REGISTER_D + 1 and index != self.century:
            return self._memory[index]
        self._account()
        if index == REGISTER_A:
            return self._memory[REGISTER_A] | (A_UPDATE_IN_PROGRESS if self._updating() else 0)
        if index == REGISTER_C:
            value, self._flags = self._flags | (C_INTERRUPT if self._interrupting() else 0), 0
            self._update_irq()
            self._schedule()
            return value
        if index == REGISTER_D:
            return D_VALID
        return self._memory[index]

    def _write_byte(self, index: int, value: int) -> None:
        if index in (REGISTER_C, REGISTER_D):
            return
        if index > REGISTER_D and index != self.century:
            self._memory[index] = value
            return
        self._account()
        if index == REGISTER_A:
            was_running = self._running()
            self._memory[REGISTER_A] = value & 0x7F
            if self._running() and not was_running:
                # The first update comes half a second after the divider is let go (data sheet, "Divider control").
                self._phase = self.clock.now() - SECOND_NS // 2
                self._updates = self._ticks = 0
            self._ticks = self._ticks_until(self.clock.now())
        elif index == REGISTER_B:
            if value & B_SET:
                value &= ~B_UPDATE_ENDED & 0xFF
            self._memory[REGISTER_B] = value
        else:
            self._memory[index] = value
        self._publish()
        self._update_irq()
        self._schedule()

    # --- time

    def _running(self) -> bool:
        return self._memory[REGISTER_A] & A_DIVIDER == A_DIVIDER_32768

    def _updating(self) -> bool:
        if not self._running() or self._memory[REGISTER_B] & B_SET:
            return False
        return 0 < (self._phase - self.clock.now()) % SECOND_NS <= UPDATE_IN_PROGRESS_NS

    def _period(self) -> int:
        """The periodic interrupt's period in crystal ticks, 0 for none (data sheet table 5)."""
        rate = self._memory[REGISTER_A] & A_RATE
        if not rate or not self._running():
            return 0
        return 1 << (rate + 6 if rate < 3 else rate - 1)

    def _ticks_until(self, now: int) -> int:
        period = self._period()
        return (now - self._phase) * CRYSTAL_HZ // (SECOND_NS * period) if period else 0

    def _account(self) -> None:
        """Brings calendar and flags up to the present."""
        if not self._running():
            return
        now = self.clock.now()
        ticks = self._ticks_until(now)
        if ticks > self._ticks:
            self._flags |= C_PERIODIC
        self._ticks = ticks
        updates = (now - self._phase) // SECOND_NS
        passed = updates - self._updates
        if passed > 0:
            self._updates = updates
            if not self._memory[REGISTER_B] & B_SET:
                until_alarm = self._seconds_until_alarm()
                if until_alarm is not None and until_alarm <= passed:
                    self._flags |= C_ALARM
                self._advance(passed)
                self._flags |= C_UPDATE_ENDED

    def _decode(self, index: int) -> int:
        value = self._memory[index]
        afternoon = 0
        if index in (HOURS, HOURS_ALARM) and not self._memory[REGISTER_B] & B_24_HOURS:
            afternoon, value = value & 0x80, value & 0x7F
        if not self._memory[REGISTER_B] & B_BINARY:
            value = (value >> 4) * 10 + (value & 0x0F)
        if index in (HOURS, HOURS_ALARM) and not self._memory[REGISTER_B] & B_24_HOURS:
            value = value % 12 + (12 if afternoon else 0)
        return value

    def _encode(self, index: int, value: int) -> None:
        afternoon = 0
        if index in (HOURS, HOURS_ALARM) and not self._memory[REGISTER_B] & B_24_HOURS:
            afternoon = 0x80 if value >= 12 else 0
            value = (value - 1) % 12 + 1
        if not self._memory[REGISTER_B] & B_BINARY:
            value = value // 10 << 4 | value % 10
        self._memory[index] = (value | afternoon) & 0xFF

    def _advance(self, seconds: int) -> None:
        total = self._decode(SECONDS) + seconds
        self._encode(SECONDS, total % 60)
        total = self._decode(MINUTES) + total // 60
        if total == self._decode(MINUTES):
            return
        self._encode(MINUTES, total % 60)
        total = self._decode(HOURS) + total // 60
        self._encode(HOURS, total % 24)
        days = total // 24
        if not days:
            return
        self._encode(DAY_OF_WEEK, (self._decode(DAY_OF_WEEK) - 1 + days) % 7 + 1)
        day, month, year = self._decode(DAY_OF_MONTH) + days, self._decode(MONTH), self._decode(YEAR)
        century = self._decode(self.century) if self.century is not None else 20
        month = min(max(month, 1), 12)
        while True:
            length = 29 if month == 2 and year % 4 == 0 else DAYS[month]
            if day <= length:
                break
            day -= length
            month += 1
            if month > 12:
                month, year = 1, year + 1
                if year > 99:
                    year, century = 0, century + 1
        self._encode(DAY_OF_MONTH, day)
        self._encode(MONTH, month)
        self._encode(YEAR, year)
        if self.century is not None:
            self._encode(self.century, century % 100)

    def _seconds_until_alarm(self) -> int | None:
        """Updates until time and alarm bytes agree; bytes of C0h and above match all (data sheet, "Alarm bytes")."""
        hour, minute, second = (
            None if self._memory[index] >= 0xC0 else self._decode(index)
            for index in (HOURS_ALARM, MINUTES_ALARM, SECONDS_ALARM)
        )
        if any(v is not None and v >= limit for v, limit in ((hour, 24), (minute, 60), (second, 60))):
            return None
        start = self._decode(HOURS) * 3600 + self._decode(MINUTES) * 60 + self._decode(SECONDS)
        at = start + 1
        while True:
            if hour is not None and at // 3600 % 24 != hour:
                at = (at // 3600 + 1) * 3600
            elif minute is not None and at // 60 % 60 != minute:
                at = (at // 60 + 1) * 60
            elif second is not None and at % 60 != second:
                at += 1
            else:
                return at - start

    # --- interrupts

    def _interrupting(self) -> bool:
        return bool(self._flags & self._memory[REGISTER_B] & (C_PERIODIC | C_ALARM | C_UPDATE_ENDED))

    def _update_irq(self) -> None:
        self.irq.set_level(self._interrupting())

    def _due(self) -> None:
        self._event = None
        self._account()
        self._update_irq()
        self._schedule()

    def _schedule(self) -> None:
        """One event for the next enabled condition; none while the line is up, as the guest must read C first."""
        self.clock.cancel(self._event)
        self._event = None
        if not self._running() or self._interrupting():
            return
        enables = self._memory[REGISTER_B]
        deadlines = []
        period = self._period()
        if enables & B_PERIODIC and period:
            deadlines.append(self._phase - (-(self._ticks + 1) * period * SECOND_NS // CRYSTAL_HZ))
        if not enables & B_SET:
            if enables & B_UPDATE_ENDED:
                deadlines.append(self._phase + (self._updates + 1) * SECOND_NS)
            if enables & B_ALARM:
                seconds = self._seconds_until_alarm()
                if seconds is not None:
                    deadlines.append(self._phase + (self._updates + seconds) * SECOND_NS)
        if deadlines:
            self._event = self.clock.schedule(min(deadlines), self._due)

    # --- state

    def save(self) -> dict[str, object]:
        self._account()
        return super().save()

    def loaded(self) -> None:
        self._publish()
        self._update_irq()
        self._schedule()
