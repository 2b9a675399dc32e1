"""A PIIX3 IDE function at its legacy ports, with sectors in memory."""

from x86emu.bus.irq import IrqLine
from x86emu.bus.spaces import PortSpace
from x86emu.devices.piix_ide import PiixIde


class MemoryImage:
    """Sectors in memory; `broken` ones raise OSError."""

    def __init__(self, sectors, sector_size=512, read_only=False):
        self.sectors, self.sector_size, self.read_only = sectors, sector_size, read_only
        self.written = {}
        self.broken = set()
        self.flushes = 0

    def sector(self, lba):
        return self.written.get(lba, lba.to_bytes(8, "little") * (self.sector_size // 8))

    def read(self, lba, count):
        if any(lba <= number < lba + count for number in self.broken):
            raise OSError("bad sector")
        return b"".join(self.sector(number) for number in range(lba, lba + count))

    def write(self, lba, data):
        if lba in self.broken:
            raise OSError("bad sector")
        for index in range(len(data) // self.sector_size):
            self.written[lba + index] = bytes(data)[index * self.sector_size : (index + 1) * self.sector_size]

    def flush(self):
        self.flushes += 1


class Ide:
    """The function's ports by name, as a driver sees them."""

    def __init__(self, edges, memory, *drives):
        self.edges = edges
        self.memory = memory
        self.irqs = (IrqLine(edges, 14), IrqLine(edges, 15))
        self.function = PiixIde(self.irqs, memory, (*drives, *[None] * (4 - len(drives))))
        self.ports = PortSpace()
        self.function.map_legacy(self.ports.map)
        for register in (0x40, 0x42):
            self.function.config_write(register, 2, 0x8000)
        self.function.config_write(4, 2, 0x0005)
        self.base, self.control = 0x1F0, 0x3F6

    def out(self, register, value):
        self.ports.write(self.base + register, 1, value)

    def inb(self, register):
        return self.ports.read(self.base + register, 1)

    @property
    def status(self):
        return self.inb(7)

    @property
    def alternate(self):
        return self.ports.read(self.control, 1)

    @property
    def irq(self):
        return self.irqs[0].level

    def command(self, command, *, lba=0, count=0, device=0x40, features=0):
        self.out(6, device | (lba >> 24 & 0x0F if device & 0x40 else 0))
        for register, value in enumerate((features, count, lba & 0xFF, lba >> 8 & 0xFF, lba >> 16 & 0xFF), 1):
            self.out(register, value)
        self.out(7, command)

    def command_ext(self, command, lba, count, device=0x40):
        self.out(6, device)
        for register, shift in ((2, None), (3, 24), (4, 32), (5, 40)):
            self.out(register, count >> 8 if shift is None else lba >> shift & 0xFF)
        for register, shift in ((2, None), (3, 0), (4, 8), (5, 16)):
            self.out(register, count & 0xFF if shift is None else lba >> shift & 0xFF)
        self.out(7, command)

    def words(self, count):
        return b"".join(self.ports.read(self.base, 2).to_bytes(2, "little") for _ in range(count))

    def put_words(self, data):
        for index in range(0, len(data), 2):
            self.ports.write(self.base, 2, int.from_bytes(data[index : index + 2], "little"))

    def packet(self, packet, limit=0xFFFE, features=0):
        self.command(0xA0, lba=limit << 8, device=0, features=features)
        assert self.inb(2) == 1 and self.alternate & 0x08 and not self.irq
        self.put_words(bytes(packet).ljust(12, b"\0"))

    def bus_master(self, offset, value=None):
        if value is None:
            return self.function.read_bus_master(offset, 1)
        return self.function.write_bus_master(offset, 1, value)

    def prd_table(self, at, *entries):
        for index, (address, length) in enumerate(entries):
            end = 0x8000_0000 if index == len(entries) - 1 else 0
            entry = address.to_bytes(4, "little") + (length & 0xFFFF | end).to_bytes(4, "little")
            self.memory.write(at + 8 * index, entry)
        for byte in range(4):
            self.bus_master(4 + byte, at >> 8 * byte & 0xFF)
