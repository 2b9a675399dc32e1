"""Intel 82540EM Gigabit Ethernet controller, 8086:100E.

PCI/PCI-X Family of Gigabit Ethernet Controllers Software Developer's Manual (317453): chapters 3 (descriptors), 5
(EEPROM), 13 (registers).  BAR 0 has the registers, BAR 2 the I/O window.  Interrupt throttling and delays run in
virtual time.  Left out: loopback, flow control frames, wake-up, management, the flash, descriptor write-back in bursts.
A frame for which there are no descriptors waits on the cable, so there is no receiver overrun.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from x86emu.bus.pci import COMMAND_MASTER, Bar, FunctionDma, PciFunction
from x86emu.devices import e1000_registers as regs
from x86emu.devices.e1000_eeprom import PHY_ADDRESS, Microwire, Phy, contents
from x86emu.devices.e1000_receive import Receiver
from x86emu.devices.e1000_transmit import Transmitter
from x86emu.devices.ethernet import Cable

if TYPE_CHECKING:
    from x86emu.bus.clock import Clock, Event
    from x86emu.bus.dma import Dma

REGISTER_BYTES, IO_BYTES = 0x20000, 64
IO_ADDRESS, IO_DATA = 0, 4
MASK32 = 0xFFFF_FFFF


class E1000(PciFunction):
    """The card with hardware address `mac`, plugged into a cable."""

    def __init__(self, cable: Cable, mac: bytes, dma: Dma, clock: Clock, *, name: str = "e1000") -> None:
        super().__init__(
            name,
            vendor_id=0x8086,
            device_id=0x100E,
            class_code=0x020000,
            revision=2,
            subsystem_vendor_id=0x8086,
            subsystem_id=0x100E,
            interrupt_pin=1,
            bars=(
                Bar(0, REGISTER_BYTES, "memory", self.read, self.write, name, sizes=(1, 2, 4)),
                Bar(2, IO_BYTES, "io", self.read_io, self.write_io, f"{name} I/O", sizes=(1, 2, 4)),
            ),
        )
        self.cable, self.clock = cable, clock
        self.dma = FunctionDma(self, dma)
        self.eeprom = Microwire(contents(mac))
        self.phy = Phy()
        self.transmitter, self.receiver = Transmitter(self), Receiver(self)
        self._timers: dict[str, Event | None] = {"interrupt": None, "receive": None, "transmit": None}
        cable.wake = self.receiver.run
        cable.segments_wanted = lambda: False
        self._special: dict[int, Callable[[int], None]] = {
            regs.CTRL: self._write_ctrl, regs.EECD: self._write_eecd, regs.EERD: self._write_eerd,
            regs.MDIC: self._write_mdic, regs.ICR: self._write_icr, regs.ICS: self.cause, regs.IMS: self._write_ims,
            regs.IMC: self._write_imc, regs.RCTL: self._write_rctl, regs.RDT: self._write_rdt,
            regs.TDT: self._write_tdt,
        }  # fmt: skip
        self._reset_card()

    # --- state

    @property
    def link_up(self) -> bool:
        return self.phy.link

    @property
    def is_master(self) -> bool:
        return bool(self.command & COMMAND_MASTER)

    def _reset_card(self) -> None:
        """What CTRL.RST does: all but the configuration space and the PHY; address 0 comes from the EEPROM."""
        self.registers = dict.fromkeys(range(0, 0x6000, 4), 0) | regs.INITIAL
        self.registers[regs.CTRL] = regs.CTRL_FD
        words = self.eeprom.words
        self.registers[regs.RAL] = words[0] | words[1] << 16
        self.registers[regs.RAL + 4] = words[2] | regs.RAH_VALID
        self.io_address = 0
        self.next_interrupt = 0
        self.receive_limit = 0  # when RADV ends the delay of RDTR
        for name in self._timers:
            self._stop(name)
        self.transmitter.reset()
        self._update_interrupt()

    def reset(self) -> None:
        self._reset_card()
        self.phy.reset()
        super().reset()

    def set_link(self, up: bool) -> None:
        """Plugs the cable in or out."""
        self.phy.link = up
        self.cause(regs.LSC)

    # --- accesses

    def read(self, offset: int, size: int) -> int:
        """BAR 0.  Registers have 32 bits; of a narrower access the bytes that it names are seen."""
        value = self._read_register(offset & ~3)
        return value >> 8 * (offset & 3) & (1 << 8 * size) - 1

    def write(self, offset: int, size: int, value: int) -> None:
        """BAR 0; writes of fewer than 32 bits are dropped (13.2)."""
        if size == 4 and not offset & 3:
            self._write_register(offset, value)

    def read_io(self, offset: int, size: int) -> int:
        """BAR 2: an index and a data port (13.2.2)."""
        if offset & ~3 == IO_ADDRESS:
            return self.io_address >> 8 * (offset & 3) & (1 << 8 * size) - 1
        return self.read(self.io_address, 4) if offset == IO_DATA and self.io_address < REGISTER_BYTES else 0

    def write_io(self, offset: int, size: int, value: int) -> None:
        """BAR 2."""
        if offset == IO_ADDRESS and size == 4:
            self.io_address = value
        elif offset == IO_DATA and self.io_address < REGISTER_BYTES:
            self.write(self.io_address, size, value)

    def _read_register(self, offset: int) -> int:
        if offset == regs.ICR:
            value = self.registers[regs.ICR]
            self.registers[regs.ICR] = 0
            self._update_interrupt()
            return value
        if offset == regs.STATUS:
            return regs.STATUS_1000 | regs.STATUS_FD | (regs.STATUS_LU if self.link_up else 0)
        if offset == regs.EECD:
            value = self.registers[regs.EECD] | regs.EECD_PRES
            if value & regs.EECD_REQ:
                value |= regs.EECD_GNT
            return value | (regs.EECD_DO if self.eeprom.output else 0)
        if regs.STATISTICS <= offset < regs.STATISTICS_END:
            return self._read_statistic(offset)
        if offset in (regs.ICS, regs.IMC):
            return 0  # write-only
        return self.registers.get(offset, 0)

    def _write_register(self, offset: int, value: int) -> None:
        if offset in self._special:
            self._special[offset](value)
        elif offset in regs.PLAIN:
            self.registers[offset] = value & regs.PLAIN[offset]
            if offset in (regs.RDTR, regs.TIDV) and value & regs.FLUSH_PARTIAL:
                self._fire("receive" if offset == regs.RDTR else "transmit")
        elif regs.MTA <= offset < regs.VFTA + 0x200:
            self.registers[offset] = value

    # --- statistics

    def _read_statistic(self, offset: int) -> int:
        value = self.registers[offset]
        if offset - 4 in regs.PAIRS:
            self.registers[offset] = self.registers[offset - 4] = 0
        elif offset not in regs.PAIRS:
            self.registers[offset] = 0
        return value

    def count(self, offset: int, amount: int = 1) -> None:
        """Counts up to FFFFFFFFh, where a counter stays."""
        self.registers[offset] = min(self.registers[offset] + amount, MASK32)

    def count_bytes(self, offset: int, amount: int) -> None:
        """A pair of registers."""
        total = self.registers[offset] + (self.registers[offset + 4] << 32) + amount
        self.registers[offset], self.registers[offset + 4] = total & MASK32, total >> 32 & MASK32

    def count_size(self, offset: int, length: int) -> None:
        """The counter of frames of that size; `offset` is that of the smallest."""
        for bin_number, largest in enumerate(regs.SIZE_BINS):
            if length <= largest:
                self.count(offset + 4 * bin_number)
                return
        self.count(offset + 4 * len(regs.SIZE_BINS))

    # --- general registers

    def _write_ctrl(self, value: int) -> None:
        if value & regs.CTRL_RST:
            self._reset_card()
            return
        if value & regs.CTRL_PHY_RST:
            self.phy.reset()
        came_up = value & ~self.registers[regs.CTRL] & regs.CTRL_SLU
        self.registers[regs.CTRL] = value & ~regs.CTRL_PHY_RST & MASK32
        if came_up and self.link_up:
            self.cause(regs.LSC)

    def _write_eecd(self, value: int) -> None:
        kept = regs.EECD_SK | regs.EECD_CS | regs.EECD_DI | regs.EECD_REQ | 0x30
        self.registers[regs.EECD] = value & kept
        self.eeprom.clock(bool(value & regs.EECD_CS), bool(value & regs.EECD_SK), bool(value & regs.EECD_DI))

    def _write_eerd(self, value: int) -> None:
        if value & regs.EERD_START:
            address = value >> 8 & 0xFF
            word = self.eeprom.words[address] if address < len(self.eeprom.words) else 0xFFFF
            self.registers[regs.EERD] = word << 16 | address << 8 | regs.EERD_DONE
        else:
            self.registers[regs.EERD] = value & 0xFF00

    def _write_mdic(self, value: int) -> None:
        register, phy = value >> 16 & 0x1F, value >> 21 & 0x1F
        result = value & 0x03FF_FFFF & ~0xFFFF | value & (3 << 26 | regs.MDIC_INTERRUPT)
        if phy != PHY_ADDRESS:
            result |= regs.MDIC_ERROR | 0xFFFF
        elif value & regs.MDIC_READ:
            result |= self.phy.read(register)
        elif value & regs.MDIC_WRITE:
            self.phy.write(register, value & 0xFFFF)
            result |= value & 0xFFFF
        self.registers[regs.MDIC] = result | regs.MDIC_READY
        if value & regs.MDIC_INTERRUPT:
            self.cause(regs.MDAC)

    def _write_rctl(self, value: int) -> None:
        self.registers[regs.RCTL] = value & MASK32
        if value & regs.RCTL_EN:
            self.receiver.run()

    def _write_rdt(self, value: int) -> None:
        self.registers[regs.RDT] = value & 0xFFFF
        self.receiver.run()

    def _write_tdt(self, value: int) -> None:
        self.registers[regs.TDT] = value & 0xFFFF
        self.transmitter.run()

    # --- interrupts

    def cause(self, causes: int) -> None:
        """Sets bits of ICR."""
        if causes & regs.CAUSES:
            self.registers[regs.ICR] |= causes & regs.CAUSES
            self._update_interrupt()

    def _write_icr(self, value: int) -> None:
        self.registers[regs.ICR] &= ~value
        self._update_interrupt()

    def _write_ims(self, value: int) -> None:
        self.registers[regs.IMS] |= value & regs.CAUSES
        self._update_interrupt()

    def _write_imc(self, value: int) -> None:
        self.registers[regs.IMS] &= ~value
        self._update_interrupt()

    def _update_interrupt(self) -> None:
        """INTA#, at most once in ITR's interval (13.4.18)."""
        if not self.registers[regs.ICR] & self.registers[regs.IMS]:
            if self.intx_level:
                self.set_intx(False)
            return
        if self.intx_level:
            return
        now = self.clock.now()
        if now >= self.next_interrupt:
            self.next_interrupt = now + self.registers[regs.ITR] * regs.ITR_UNIT
            self.set_intx(True)
        elif self._timers["interrupt"] is None:
            self._start("interrupt", self.next_interrupt, self._throttled)

    def _throttled(self) -> None:
        self._timers["interrupt"] = None
        self._update_interrupt()

    def frames_received(self) -> None:
        """RXT0: at once, or RDTR after the last frame, but no later than RADV after the first."""
        delay = self.registers[regs.RDTR] * regs.DELAY_UNIT
        if not delay:
            self.cause(regs.RXT0)
            return
        deadline = self.clock.now() + delay
        if self._timers["receive"] is None:
            limit = self.registers[regs.RADV] * regs.DELAY_UNIT
            self.receive_limit = self.clock.now() + limit if limit else 0
        else:
            self._stop("receive")
        if self.receive_limit:
            deadline = min(deadline, self.receive_limit)
        self._start("receive", deadline, partial(self._fire, "receive"))

    def delay_transmit(self) -> None:
        """TXDW of descriptors with the delay bit: TIDV after the last."""
        delay = self.registers[regs.TIDV] * regs.DELAY_UNIT
        if not delay:
            self.cause(regs.TXDW)
            return
        self._stop("transmit")
        self._start("transmit", self.clock.now() + delay, partial(self._fire, "transmit"))

    def _fire(self, name: str) -> None:
        if self._timers[name] is not None:
            self._stop(name)
            self.cause(regs.RXT0 if name == "receive" else regs.TXDW)

    def _start(self, name: str, deadline: int, callback: Callable[[], None]) -> None:
        self._timers[name] = self.clock.schedule(deadline, callback)

    def _stop(self, name: str) -> None:
        event, self._timers[name] = self._timers[name], None
        if event is not None:
            self.clock.cancel(event)

    # --- save and load

    def save(self) -> dict[str, object]:
        return super().save() | {
            "registers": dict(self.registers), "eeprom": self.eeprom.save(), "phy": dict(self.phy.registers),
            "link": self.phy.link, "io_address": self.io_address, "next_interrupt": self.next_interrupt,
            "receive_limit": self.receive_limit, "context": vars(self.transmitter.context).copy(),
            "deadlines": {name: event.deadline for name, event in self._timers.items() if event is not None},
        }  # fmt: skip

    def load(self, state: dict[str, Any]) -> None:
        self.registers = dict(state["registers"])
        self.eeprom.load(state["eeprom"])
        self.phy.registers, self.phy.link = dict(state["phy"]), state["link"]
        self.io_address, self.next_interrupt = state["io_address"], state["next_interrupt"]
        self.receive_limit = state["receive_limit"]
        self.transmitter.reset()
        vars(self.transmitter.context).update(state["context"])
        for name in self._timers:
            self._stop(name)
            if name in state["deadlines"]:
                callback = self._throttled if name == "interrupt" else partial(self._fire, name)
                self._start(name, state["deadlines"][name], callback)
        super().load(state)
