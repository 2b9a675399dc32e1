"""NE2000 on PCI: a DP8390 network interface controller with 16 KiB of packet memory, as Realtek's RTL8029 (10EC:8029).

National Semiconductor DP8390D data sheet (registers, buffer ring, remote DMA); RTL8029AS data sheet for the PCI side,
its identification and page 3.  Frames are sent at once, and come in at 100 Mb/s of virtual time: drivers acknowledge
"packet received" after they have looked, and rely on the wire's being slower than they are.  A frame for which the ring
has no room waits on the cable and has the interrupt raised again, so the ring never overflows.  Left out: loopback into
the FIFO, deferral and collisions, which this cable does not have.
"""

from __future__ import annotations

import binascii
from typing import TYPE_CHECKING, Any

from x86emu.bus.pci import Bar, PciFunction
from x86emu.devices import ethernet

if TYPE_CHECKING:
    from x86emu.bus.clock import Clock, Event
    from x86emu.devices.ethernet import Cable

PORTS, DATA_PORT, RESET_PORT = 32, 0x10, 0x18
PAGE = 256
BYTE_NANOSECONDS = 80
PROM_BYTES, RAM_BASE, RAM_END = 32, 0x4000, 0x8000
PROM_SIGNATURE = 0x57

# Command register
CR_STP, CR_STA, CR_TXP, CR_READ, CR_WRITE, CR_SEND, CR_ABORT = 0x01, 0x02, 0x04, 0x08, 0x10, 0x18, 0x20
ISR_PRX, ISR_PTX, ISR_TXE, ISR_CNT, ISR_RDC, ISR_RST = 0x01, 0x02, 0x08, 0x20, 0x40, 0x80
IMR_BITS = 0x7F
RCR_AB, RCR_AM, RCR_PRO, RCR_MON = 0x04, 0x08, 0x10, 0x20
TCR_LOOPBACK = 0x06
DCR_WORD = 0x01
TSR_PTX = 0x01
RSR_PRX, RSR_PHY = 0x01, 0x20

# Registers by page and offset; the same name may be read in one place and written in another.
READ: tuple[dict[int, str], ...] = (
    {3: "bnry", 4: "tsr", 7: "isr", 12: "rsr"},
    {1: "par0", 2: "par1", 3: "par2", 4: "par3", 5: "par4", 6: "par5", 7: "curr",
     **{8 + n: f"mar{n}" for n in range(8)}},
    {1: "pstart", 2: "pstop", 4: "tpsr", 12: "rcr", 13: "tcr", 14: "dcr", 15: "imr"},
    {1: "cr9346", 3: "config0", 5: "config2", 6: "config3"},
)  # fmt: skip
WRITE: tuple[dict[int, str], ...] = (
    {1: "pstart", 2: "pstop", 3: "bnry", 4: "tpsr", 5: "tbcr_low", 6: "tbcr_high", 12: "rcr", 13: "tcr", 14: "dcr",
     15: "imr"},
    READ[1],
    {},
    {1: "cr9346", 5: "config2", 6: "config3"},
)  # fmt: skip
NAMES = sorted({name for page in (*READ, *WRITE) for name in page.values()})
IDENTIFICATION = {10: 0x50, 11: 0x43}  # RTL8029: "PC" on page 0


class Ne2000Pci(PciFunction):
    """The card with hardware address `mac`, plugged into a cable."""

    def __init__(self, cable: Cable, mac: bytes, clock: Clock, *, name: str = "ne2000") -> None:
        super().__init__(
            name,
            vendor_id=0x10EC,
            device_id=0x8029,
            class_code=0x020000,
            subsystem_vendor_id=0x10EC,
            subsystem_id=0x8029,
            interrupt_pin=1,
            bars=(
                Bar(
                    0, PORTS, "io", self.read, self.write, name, sizes=(1, 2, 4), read_block=self.read_block,
                    write_block=self.write_block,
                ),
            ),
        )  # fmt: skip
        self.cable, self.clock = cable, clock
        self._arrival: Event | None = None  # of the next frame
        prom = (mac + bytes(8) + bytes((PROM_SIGNATURE, PROM_SIGNATURE))).ljust(16, b"\0")
        self.prom = bytes(byte for byte in prom for _ in range(2))  # each byte twice: it is on half of the bus
        self.memory = bytearray(RAM_END - RAM_BASE)
        cable.wake = self._frames_wait
        cable.segments_wanted = lambda: False
        self._power_on()

    def _stop(self) -> None:
        event, self._arrival = self._arrival, None
        if event is not None:
            self.clock.cancel(event)

    def _power_on(self) -> None:
        self._stop()
        self.registers = dict.fromkeys(NAMES, 0)
        self.missed = 0  # CNTR2
        self.address = self.count = 0  # of the remote DMA
        self._reset_chip()

    def _reset_chip(self) -> None:
        """What the reset port does (data sheet, chapter 11: only these are changed)."""
        self.chip_command = CR_STP | CR_ABORT
        self.registers["isr"] = ISR_RST
        self.registers["imr"] = 0
        self._update_interrupt()

    def reset(self) -> None:
        self._power_on()
        super().reset()

    # --- accesses

    def read(self, offset: int, size: int) -> int:
        """BAR 0: registers, the data port, the reset port."""
        if DATA_PORT <= offset < RESET_PORT:
            return self._read_data(size)
        if offset >= RESET_PORT:
            self._reset_chip()
            return 0
        return sum(self._read_register(offset + lane & 0xF) << 8 * lane for lane in range(size))

    def write(self, offset: int, size: int, value: int) -> None:
        """BAR 0; writes to the reset port do nothing."""
        if DATA_PORT <= offset < RESET_PORT:
            self._write_data(value.to_bytes(size, "little"))
        elif offset < DATA_PORT:
            for lane in range(size):
                self._write_register(offset + lane & 0xF, value >> 8 * lane & 0xFF)

    def read_block(self, offset: int, size: int, count: int) -> bytes:
        """String input: from the data port a whole packet at a time."""
        if not DATA_PORT <= offset < RESET_PORT:
            return b"".join(self.read(offset, size).to_bytes(size, "little") for _ in range(count))
        if self._step(size) != size or self.address < RAM_BASE:
            return b"".join(self._read_data(size).to_bytes(size, "little") for _ in range(count))
        data = bytearray()
        wanted = size * count
        while len(data) < wanted and self.chip_command & CR_READ:
            run = min(wanted - len(data), max(self.count, size), self._before_wrap())
            data += self._peek(self.address, run)
            self._advance(run)
        return bytes(data.ljust(wanted, b"\xff"))

    def write_block(self, offset: int, size: int, data: bytes) -> int:
        """String output."""
        if DATA_PORT <= offset < RESET_PORT and self._step(size) == size:
            if self.chip_command & (CR_READ | CR_WRITE) == CR_WRITE:
                part = data[: max(self.count, 1)]
                self._poke(self.address, part)
                self._advance(len(part))
        else:
            for at in range(0, len(data), size):
                self.write(offset, size, int.from_bytes(data[at : at + size], "little"))
        return len(data) // size

    def _before_wrap(self) -> int:
        """Bytes from the DMA's address to where it wraps to the ring's start."""
        end = self.registers["pstop"] * PAGE
        if self.address < end:
            return end - self.address
        return 0x10000 - self.address

    # --- remote DMA (data sheet, chapter 8)

    def _peek(self, address: int, length: int) -> bytes:
        if RAM_BASE <= address and address + length <= RAM_END:
            return bytes(self.memory[address - RAM_BASE : address - RAM_BASE + length])
        return bytes(self._peek_byte(address + index & 0xFFFF) for index in range(length))

    def _peek_byte(self, address: int) -> int:
        if RAM_BASE <= address < RAM_END:
            return self.memory[address - RAM_BASE]
        return self.prom[address] if address < PROM_BYTES else 0xFF

    def _poke(self, address: int, data: bytes) -> None:
        first = max(RAM_BASE - address, 0)
        part = data[first : max(RAM_END - address, 0)]
        at = address + first - RAM_BASE
        self.memory[at : at + len(part)] = part

    def _step(self, size: int) -> int:
        """Bytes that one access moves: in word mode two even by a byte-wide one."""
        return max(size, 2) if self.registers["dcr"] & DCR_WORD else 1

    def _read_data(self, size: int) -> int:
        if not self.chip_command & CR_READ:
            return (1 << 8 * size) - 1
        step = self._step(size)
        data = self._peek(self.address, step)
        self._advance(step)
        return int.from_bytes(data[:size].ljust(size, b"\xff"), "little")

    def _write_data(self, data: bytes) -> None:
        if self.chip_command & (CR_READ | CR_WRITE) != CR_WRITE:
            return
        step = self._step(len(data))
        self._poke(self.address, data.ljust(step, b"\0")[:step])
        self._advance(step)

    def _advance(self, step: int) -> None:
        reading = self.chip_command & CR_READ
        self.address += step
        if reading and self.address == self.registers["pstop"] * PAGE:
            self.address = self.registers["pstart"] * PAGE
        self.address &= 0xFFFF
        before, self.count = self.count, max(self.count - step, 0)
        if before and not self.count:
            if self.chip_command & CR_SEND == CR_SEND:  # "send packet": the frame is done with
                self.registers["bnry"] = self.address + PAGE - 1 >> 8 & 0xFF
            self._raise(ISR_RDC)

    # --- registers (data sheet, chapter 10)

    def _read_register(self, offset: int) -> int:
        if not offset:
            return self.chip_command
        page = self.chip_command >> 6
        if page == 0:
            if offset in (1, 8):
                return self.address & 0xFF
            if offset in (2, 9):
                return self.address >> 8
            if offset in IDENTIFICATION:
                return IDENTIFICATION[offset]
            if offset == 15:
                value, self.missed = self.missed, 0
                return value
        name = READ[page].get(offset)
        return self.registers[name] if name is not None else 0

    def _write_register(self, offset: int, value: int) -> None:
        if not offset:
            self._write_command(value)
            return
        page = self.chip_command >> 6
        if page == 0 and offset == 7:
            self.registers["isr"] &= ~(value & IMR_BITS)
            self._update_interrupt()
        elif page == 0 and offset in (8, 9):
            shift = 8 * (offset - 8)
            self.address = self.address & ~(0xFF << shift) | value << shift
        elif page == 0 and offset in (10, 11):
            shift = 8 * (offset - 10)
            self.count = self.count & ~(0xFF << shift) | value << shift
        else:
            name = WRITE[page].get(offset)
            if name is None:
                return
            self.registers[name] = value
            if name == "imr":
                self._update_interrupt()

    def _write_command(self, value: int) -> None:
        if not value & (CR_STP | CR_STA):
            value |= self.chip_command & (CR_STP | CR_STA)  # as it was
        self.chip_command = value & ~CR_TXP
        if value & CR_STP:
            self.registers["isr"] |= ISR_RST
        elif value & CR_STA:
            self.registers["isr"] &= ~ISR_RST
        if value & CR_TXP and not value & CR_STP:
            self._transmit()
        if value & (CR_ABORT | CR_SEND) == CR_SEND:
            self.address = self.registers["bnry"] * PAGE
            self.count = int.from_bytes(self._peek(self.address + 2, 2), "little")
        elif value & (CR_READ | CR_WRITE) and not value & CR_ABORT and not self.count:
            self._raise(ISR_RDC)  # nothing to move: done

    def _raise(self, cause: int) -> None:
        self.registers["isr"] |= cause
        self._update_interrupt()

    def _update_interrupt(self) -> None:
        level = bool(self.registers["isr"] & self.registers["imr"] & IMR_BITS)
        if level != self.intx_level:
            self.set_intx(level)

    # --- frames (data sheet, chapters 6 and 7)

    def _transmit(self) -> None:
        length = self.registers["tbcr_high"] << 8 | self.registers["tbcr_low"]
        frame = self._peek(self.registers["tpsr"] * PAGE, min(length, RAM_END - RAM_BASE))
        self.registers["tsr"] = TSR_PTX
        if ethernet.HEADER <= len(frame) <= ethernet.LARGEST_FRAME + 4 and not self.registers["tcr"] & TCR_LOOPBACK:
            self.cable.send(frame.ljust(ethernet.SHORTEST_FRAME, b"\0"))
        self._raise(ISR_PTX)

    def _ring(self) -> tuple[int, int]:
        """First page of the ring and the one behind its last; (0, 0) where software has set up none."""
        first, end = self.registers["pstart"], self.registers["pstop"]
        return (first, end) if RAM_BASE >> 8 <= first < end <= RAM_END >> 8 else (0, 0)

    def _frames_wait(self) -> None:
        if self._arrival is None:
            self._arrive()

    def _arrive(self) -> None:
        """Takes a frame from the cable; the next one comes when this one would have gone by."""
        self._arrival = None
        if self.chip_command & CR_STP or not self.chip_command & CR_STA or self._ring() == (0, 0):
            self.cable.discard()
            return
        waiting = self.cable.next_frame()
        if waiting is None:
            if self._unseen():
                self._raise(ISR_PRX)
            return
        frame = waiting[0]
        if self._take(frame):
            self.cable.frame_taken()
        else:
            self._raise(ISR_PRX)  # the ring is full, which the driver may not know
        self._arrival = self.clock.schedule(self.clock.now() + len(frame) * BYTE_NANOSECONDS, self._arrive)

    def _unseen(self) -> bool:
        """Whether the ring holds frames: its boundary is kept one page behind the next one."""
        first, end = self._ring()
        return (self.registers["curr"] - self.registers["bnry"] - 1) % (end - first) != 0

    def _take(self, frame: bytes) -> bool:
        """Stores a frame or passes it over; False where the ring has no room."""
        if len(frame) > ethernet.LARGEST_FRAME + 4 or not self._passes(frame):
            return True
        if self.registers["rcr"] & RCR_MON:
            self.missed = min(self.missed + 1, 0xFF)
            if self.missed & 0x80:
                self._raise(ISR_CNT)
            return True
        return self._store(frame)

    def _store(self, frame: bytes) -> bool:
        """Puts a frame into the ring; False where it has no room."""
        first, end = self._ring()
        current, boundary = self.registers["curr"], self.registers["bnry"]
        if not first <= current < end:
            current = first
        data = frame + binascii.crc32(frame).to_bytes(4, "little")
        pages = (len(data) + 4 + PAGE - 1) // PAGE
        free = (boundary - current) % (end - first) or end - first
        if pages >= free:
            return False
        following = current + pages
        if following >= end:
            following -= end - first
        status = RSR_PRX | (RSR_PHY if frame[0] & 1 else 0)
        data = bytes((status, following)) + len(data).to_bytes(2, "little") + data
        at = current * PAGE
        before_end = end * PAGE - at
        self._poke(at, data[:before_end])
        self._poke(first * PAGE, data[before_end:])
        self.registers["curr"] = following
        self.registers["rsr"] = status
        self._raise(ISR_PRX)
        return True

    def _passes(self, frame: bytes) -> bool:
        control, destination = self.registers["rcr"], frame[:6]
        if destination == ethernet.BROADCAST:
            return bool(control & RCR_AB)
        if destination[0] & 1:
            index = ethernet.hash_crc(destination) >> 26
            return bool(control & RCR_AM and self.registers[f"mar{index >> 3}"] >> (index & 7) & 1)
        own = bytes(self.registers[f"par{index}"] for index in range(6))
        return bool(control & RCR_PRO) or destination == own

    # --- save and load

    def save(self) -> dict[str, object]:
        return super().save() | {
            "registers": dict(self.registers), "memory": bytes(self.memory), "chip_command": self.chip_command,
            "missed": self.missed, "dma": (self.address, self.count),
            "arrival": self._arrival.deadline if self._arrival is not None else None,
        }  # fmt: skip

    def load(self, state: dict[str, Any]) -> None:
        self.registers = dict(state["registers"])
        self.memory[:] = state["memory"]
        self.chip_command, self.missed = state["chip_command"], state["missed"]
        self.address, self.count = state["dma"]
        self._stop()
        if state["arrival"] is not None:
            self._arrival = self.clock.schedule(state["arrival"], self._arrive)
        super().load(state)
