"""PIIX4 power management function, 8086:7113 (Intel 82371AB data sheet 290562, chapters 7.1 configuration and 7.2 I/O
registers; ACPI 1.0b chapter 4.7 for what they mean).

The register block is decoded at PMBASE (40h) while PMREGMISC (80h) bit 0 is set.  APM ports B2h and B3h raise an SMI if
APMC_EN (58h bit 25) and SMI_EN (GLBCTL bit 0) are set.  Departure: the commands F1h and F0h at B2h switch SCI_EN here
and raise no SMI, as on QEMU, because SeaBIOS leaves that part of system management to the board.  Device monitors,
throttling and the SMBus host are left out; their registers are stored, SMBus ports are not decoded.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from x86emu.bus.pci import PciFunction
from x86emu.devices.pm_timer import PmTimer

if TYPE_CHECKING:
    from x86emu.bus.clock import Clock, Event
    from x86emu.bus.irq import IrqLine
    from x86emu.bus.spaces import Region

PMBASE = 0x40
DEVACTB = 0x58
PMREGMISC = 0x80
SMBBASE = 0x90
SMBHSTCFG = 0xD2

DEVACTB_APMC_EN = 1 << 25
BLOCK_LENGTH = 64

# Offsets in the register block.
PMSTS, PMEN, PMCNTRL, PMTMR = 0x00, 0x02, 0x04, 0x08
GPSTS, GPEN, PCNTRL, PLVL2, PLVL3 = 0x0C, 0x0E, 0x10, 0x14, 0x15
GLBSTS, DEVSTS, GLBEN, GLBCTL, DEVCTL = 0x18, 0x1C, 0x20, 0x28, 0x2C
GPIREG, GPOREG = 0x30, 0x34

TMROF = 0x0001
BM_STS = 0x0010
GBL = 0x0020
POWER_BUTTON = 0x0100
RTC = 0x0400
RESUME_STS = 0x8000
PMSTS_BITS = TMROF | BM_STS | GBL | POWER_BUTTON | RTC | RESUME_STS
SCI_SOURCES = TMROF | GBL | POWER_BUTTON | RTC

SCI_EN = 0x0001
GLOBAL_RELEASE = 0x0004
SUSPEND_TYPE_SHIFT = 10
SUSPEND_ENABLE = 0x2000
PMCNTRL_BITS = 0x1C03

BIOS_STS = 0x01
APM_STS = 0x20
BIOS_EN = 0x02
SMI_EN = 0x01

SUSPEND_TYPE_SOFT_OFF = 0

TIMER_HZ = 3_579_545
TIMER_BITS = 24
SECOND_NS = 1_000_000_000

ACPI_ENABLE = 0xF1
ACPI_DISABLE = 0xF0

# Which bits of the register block software can write, by byte (those with effects are handled apart).
_WRITABLE = bytearray(BLOCK_LENGTH)
for _offset, _mask in (
    (PMEN, 0x0521), (PMCNTRL, PMCNTRL_BITS), (GPEN, 0x0F01), (PCNTRL, 0x3E1F), (PCNTRL + 2, 0x0002),
    (GLBEN, 0x8D07), (GLBCTL, 0x7FFF), (GLBCTL + 2, 0x0707), (DEVCTL, 0xFFFF), (DEVCTL + 2, 0xFFFF),
    (GPOREG, 0xFFFF), (GPOREG + 2, 0xFFFF),
):  # fmt: skip
    _WRITABLE[_offset : _offset + 2] = _mask.to_bytes(2, "little")
# Status registers: writing a one clears the bit.
_ONE_CLEARS = bytearray(BLOCK_LENGTH)
for _offset, _mask in ((PMSTS, PMSTS_BITS), (GPSTS, 0x0F81), (GLBSTS, 0x0CED), (DEVSTS, 0xFFFF), (DEVSTS + 2, 0x3FFF)):
    _ONE_CLEARS[_offset : _offset + 2] = _mask.to_bytes(2, "little")


class Piix4Acpi(PciFunction):
    """Function 1.3. `sci` is IRQ 9 (level), `smi()` raises an SMI at every processor.

    `power_off()` is called for soft off (suspend type 0), `suspend(suspend_type)` for the other types.
    Map `read_apm/write_apm` at B2h, two ports.
    """

    def __init__(
        self,
        sci: IrqLine,
        clock: Clock,
        *,
        smi: Callable[[], object] | None = None,
        power_off: Callable[[], object] | None = None,
        suspend: Callable[[int], object] | None = None,
        name: str = "PIIX4 ACPI",
    ) -> None:
        super().__init__(
            name, vendor_id=0x8086, device_id=0x7113, class_code=0x068000, revision=3, interrupt_pin=1
        )
        self.sci = sci
        self.clock = clock
        self.smi = smi
        self.power_off = power_off
        self.suspend = suspend
        self.declare(0x06, 2, 0x0280, 0, 0x7800)
        self.declare(PMBASE, 4, 0x0000_0001, 0x0000_FFC0)
        self.declare(0x44, 8, 0, (1 << 64) - 1)  # count A and B
        self.declare(0x4C, 4, 0, 0xFFFF_FFFF)  # general-purpose input control
        self.declare(0x50, 8, 0, (1 << 64) - 1)  # device resources D, device activity A
        self.declare(DEVACTB, 4, 0, 0xFFFF_FFFF)
        self.declare(0x5C, 36, 0, (1 << 288) - 1)  # device resources A to J
        self.declare(PMREGMISC, 1, 0, 0x01)
        self.declare(SMBBASE, 4, 0x0000_0001, 0x0000_FFF0)
        self.declare(SMBHSTCFG, 1, 0, 0x0F)
        self.declare(0xD3, 3, 0, 0xFFFFFF)
        self._registers = bytearray(BLOCK_LENGTH)
        self._apm = [0, 0]
        self._region: Region | None = None
        self._timer = PmTimer(self, clock)
        self._overflows = 0  # how often the timer's top bit had toggled when last looked at
        self._event: Event | None = None

    # --- the machine's side

    def press_power_button(self) -> None:
        """A press of the power button: an SCI where the guest has enabled it."""
        self._set_status(PMSTS, POWER_BUTTON)

    def rtc_interrupt(self) -> None:
        """IRQ8# is asserted, which is a wake-up event."""
        self._set_status(PMSTS, RTC)

    @property
    def suspend_well(self) -> bytes:
        """What keeps its power in S3: wake-up status and enable bits, and where the register block is decoded.

        Departure: on hardware firmware decodes the block anew; SeaBIOS needs it before it does.
        """
        kept = self._registers[PMSTS:PMCNTRL] + self._registers[GPSTS:PCNTRL]
        return bytes(kept + self.config[PMBASE : PMBASE + 4] + self.config[PMREGMISC : PMREGMISC + 1])

    @suspend_well.setter
    def suspend_well(self, value: bytes) -> None:
        self._registers[PMSTS:PMCNTRL] = value[0:4]
        self._registers[GPSTS:PCNTRL] = value[4:8]
        self.config[PMBASE : PMBASE + 4] = value[8:12]
        self.config[PMREGMISC] = value[12]
        self._decode()
        self._update_sci()

    @property
    def wakes(self) -> bool:
        """Whether an enabled wake-up event is there: the RTC, or the power button, which always is one."""
        status = self._get(PMSTS, 2)
        return bool(status & POWER_BUTTON or status & RTC & self._get(PMEN, 2))

    @property
    def alarm_wakes(self) -> bool:
        """Whether the RTC is enabled as a wake-up event."""
        return bool(self._get(PMEN, 2) & RTC)

    def woken(self, status: int = 0) -> None:
        """The system resumes: RSM_STS, and what else is to be in PMSTS."""
        self._set_status(PMSTS, RESUME_STS | status)

    def set_general_purpose_event(self, bits: int) -> None:
        """Sets bits of GPSTS."""
        self._set_status(GPSTS, bits)

    @property
    def sci_enabled(self) -> bool:
        """Whether the guest runs in ACPI mode."""
        return bool(self._get(PMCNTRL, 2) & SCI_EN)

    # --- register block

    def _get(self, offset: int, size: int) -> int:
        return int.from_bytes(self._registers[offset : offset + size], "little")

    def _set_status(self, offset: int, bits: int) -> None:
        self._registers[offset : offset + 2] = (self._get(offset, 2) | bits).to_bytes(2, "little")
        self._update_sci()

    def timer(self) -> int:
        """The power management timer: 24 bits at 3.579545 MHz of virtual time."""
        return self._timer.ticks() & (1 << TIMER_BITS) - 1

    def read_block(self, offset: int, size: int) -> int:
        """Registers at PMBASE."""
        if offset & ~3 == PMTMR:
            return self.timer() >> 8 * (offset & 3) & (1 << 8 * size) - 1
        self._account()
        return self._get(offset, size)

    def write_block(self, offset: int, size: int, value: int) -> None:
        """Registers at PMBASE."""
        self._account()
        for index in range(offset, min(offset + size, BLOCK_LENGTH)):
            byte, value = value & 0xFF, value >> 8
            mask = _WRITABLE[index]
            kept = self._registers[index] & ~mask & ~(byte & _ONE_CLEARS[index])
            self._registers[index] = kept | byte & mask
            if index == PMCNTRL + 1 and byte & SUSPEND_ENABLE >> 8:
                self._sleep(byte >> SUSPEND_TYPE_SHIFT - 8 & 7)
            elif index == PMCNTRL and byte & GLOBAL_RELEASE:
                self._release()
        self._update_sci()
        self._schedule()

    def _sleep(self, suspend_type: int) -> None:
        if suspend_type == SUSPEND_TYPE_SOFT_OFF:
            if self.power_off is not None:
                self.power_off()
        elif self.suspend is not None:
            self.suspend(suspend_type)

    def _release(self) -> None:
        """GBL_RLS: system management is told that the global lock is free."""
        self._registers[GLBSTS] |= BIOS_STS
        if self._registers[GLBEN] & BIOS_EN:
            self._raise_smi()

    # --- timer

    def _toggles(self) -> int:
        return self._timer.ticks() >> TIMER_BITS - 1

    def _account(self) -> None:
        toggles = self._toggles()
        if toggles != self._overflows:
            self._overflows = toggles
            self._registers[PMSTS] |= TMROF

    def _schedule(self) -> None:
        """One event at the next toggle of the timer's top bit, if somebody waits for it."""
        self.clock.cancel(self._event)
        self._event = None
        enabled = self._get(PMEN, 2) & TMROF and self._get(PMCNTRL, 2) & SCI_EN
        if enabled and not self._get(PMSTS, 2) & TMROF:
            ticks = (self._overflows + 1) << TIMER_BITS - 1
            self._event = self.clock.schedule(-(-ticks * SECOND_NS // TIMER_HZ), self._overflow)

    def _overflow(self) -> None:
        self._event = None
        self._account()
        self._update_sci()

    def _update_sci(self) -> None:
        pending = self._get(PMSTS, 2) & self._get(PMEN, 2) & SCI_SOURCES or self._get(GPSTS, 2) & self._get(GPEN, 2)
        self.sci.set_level(bool(pending) and self.sci_enabled)

    # --- APM ports B2h, B3h

    def read_apm(self, offset: int, size: int) -> int:
        """APM control (B2h) and status (B3h), as written."""
        return self._apm[offset & 1]

    def write_apm(self, offset: int, size: int, value: int) -> None:
        """B2h: a command to system management; B3h: a byte to talk to it."""
        self._apm[offset & 1] = value
        if offset & 1:
            return
        if value in (ACPI_ENABLE, ACPI_DISABLE):
            self._registers[PMCNTRL] = self._registers[PMCNTRL] & ~SCI_EN | (SCI_EN if value == ACPI_ENABLE else 0)
            self._update_sci()
            self._schedule()
        elif self.get(DEVACTB, 4) & DEVACTB_APMC_EN:
            self._registers[GLBSTS] |= APM_STS
            self._raise_smi()

    def _raise_smi(self) -> None:
        if self._registers[GLBCTL] & SMI_EN and self.smi is not None:
            self.smi()

    # --- configuration

    @property
    def pm_base(self) -> int | None:
        """Where the register block is decoded, or None."""
        base = self.get(PMBASE, 4) & 0xFFC0
        return base if self.config[PMREGMISC] & 1 and base else None

    def config_written(self, offset: int, size: int) -> None:
        if offset < PMBASE + 4 and offset + size > PMBASE or offset <= PMREGMISC < offset + size:
            self._decode()

    def _decode(self) -> None:
        if self.bus is None:
            return
        base = self.pm_base
        if base is None:
            if self._region is not None:
                self.bus.ports.unmap(self._region)
        elif self._region is None:
            self._region = self.bus.ports.map(
                base, BLOCK_LENGTH, self.read_block, self.write_block, f"{self.name} registers", device=self,
                native=self._timer.native, may_overlap=True,
            )  # fmt: skip
        elif self._region.base != base or not self._region.mapped:
            self.bus.ports.move(self._region, base)

    # --- device

    def reset(self) -> None:
        super().reset()
        self._registers[:] = bytes(BLOCK_LENGTH)
        self._apm = [0, 0]
        self._overflows = self._toggles()
        self._update_sci()
        self._schedule()
        self._decode()

    def save(self) -> dict[str, object]:
        self._account()
        return super().save() | {
            "registers": bytes(self._registers), "apm": list(self._apm), "overflows": self._overflows,
        }  # fmt: skip

    def load(self, state: dict[str, Any]) -> None:
        super().load(state)
        self._registers[:] = state["registers"]
        self._apm = list(state["apm"])
        self._overflows = state["overflows"]
        self._decode()
        self._update_sci()
        self._schedule()
