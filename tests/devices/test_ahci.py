"""SATA disks and CD-ROMs at an AHCI adapter, from its registers and memory structures; no guest."""

import random
import struct

import pytest
from ide_fixtures import MemoryImage

from x86emu.bus.pci import PciBus
from x86emu.bus.spaces import MmioSpace, PortSpace
from x86emu.devices.ahci import Ahci
from x86emu.devices.ata_disk import AtaDisk
from x86emu.devices.atapi_cdrom import AtapiCdrom

ABAR = 0xFEB0_0000
LIST, RECEIVED, TABLES, DATA = 0x1_0000, 0x1_1000, 0x1_2000, 0x4_0000
GHC, IS, PI = 0x04, 0x08, 0x0C
PXCLB, PXFB, PXIS, PXIE, PXCMD, PXTFD, PXSIG, PXSSTS, PXSCTL, PXSERR, PXSACT, PXCI = (
    0x00, 0x08, 0x10, 0x14, 0x18, 0x20, 0x24, 0x28, 0x2C, 0x30, 0x34, 0x38,
)  # fmt: skip


class Image(MemoryImage):
    """Knows what was discarded."""

    def __init__(self, sectors, **kind):
        super().__init__(sectors, **kind)
        self.discarded = []

    def discard(self, lba, count):
        self.discarded.append((lba, count))


class Adapter:
    """The function on a bus with its BAR placed; port 0 is started."""

    def __init__(self, memory, *drives):
        self.memory, self.level = memory, False
        self.mmio = MmioSpace()
        bus = PciBus(PortSpace(), self.mmio, self._intx)
        self.function = Ahci(drives, memory, lambda address, length: address + length <= len(memory.bytes))
        bus.add(self.function, 3)
        self.function.config_write(0x24, 4, ABAR)
        self.function.config_write(4, 2, 6)
        self.port = 0
        self.put(GHC, 0x8000_0002)

    def _intx(self, pirq, level):
        self.level = level

    def get(self, register):
        return self.mmio.read(ABAR + register, 4)

    def put(self, register, value):
        self.mmio.write(ABAR + register, 4, value)

    def pget(self, register):
        return self.get(0x100 + 0x80 * self.port + register)

    def pput(self, register, value):
        self.put(0x100 + 0x80 * self.port + register, value)

    def start(self, port=0):
        self.port = port
        self.pput(PXCLB, LIST)
        self.pput(PXFB, RECEIVED)
        self.pput(PXSERR, 0xFFFF_FFFF)
        self.pput(PXIS, 0xFFFF_FFFF)
        self.put(IS, 0xFFFF_FFFF)
        self.pput(PXIE, 0x7DC0_007F)
        self.pput(PXCMD, 0x11)
        assert self.pget(PXCMD) & 0xC011 == 0xC011
        return self

    def prepare(self, slot, frame, regions=(), *, packet=b"", flags=0):
        table = TABLES + 0x1000 * slot
        self.memory.write(LIST + 32 * slot, struct.pack("<IIQ", len(regions) << 16 | flags | 5, 0, table))
        self.memory.write(table, frame.ljust(0x40, b"\0") + packet.ljust(0x40, b"\0"))
        for index, (address, length) in enumerate(regions):
            self.memory.write(table + 0x80 + 16 * index, struct.pack("<QII", address, 0, length - 1))

    def run(self, frame, regions=(), *, packet=b"", flags=0, slot=0):
        self.prepare(slot, frame, regions, packet=packet, flags=flags)
        self.pput(PXCI, 1 << slot)
        return self.pget(PXTFD) & 0xFF

    def moved(self, slot=0):
        return struct.unpack("<I", self.memory.read(LIST + 32 * slot + 4, 4))[0]


def frame(command, lba=0, count=0, features=0, device=0x40):
    low, high = lba.to_bytes(6, "little")[:3], lba.to_bytes(6, "little")[3:]
    return (
        bytes((0x27, 0x80, command, features & 0xFF)) + low + bytes((device,)) + high
        + bytes((features >> 8, count & 0xFF, count >> 8, 0, 0))
    )  # fmt: skip


@pytest.fixture
def image():
    return Image(5000)


@pytest.fixture
def adapter(memory, image):
    return Adapter(memory, AtaDisk(image, serial_ata=True)).start()


def test_capabilities_and_links(memory, image):
    cd = AtapiCdrom(MemoryImage(100, 2048, True), serial_ata=True)
    adapter = Adapter(memory, AtaDisk(image, serial_ata=True), cd)
    assert adapter.get(0) == 0xC1241F05 and adapter.get(PI) == 0x3F and adapter.get(0x10) == 0x10301
    assert adapter.function.get(0x08, 4) >> 8 == 0x010601
    seen = []
    for adapter.port in range(3):
        seen.append((adapter.pget(PXSSTS), adapter.pget(PXSIG), adapter.pget(PXTFD)))
    assert seen == [(0x123, 0x101, 0x150), (0x123, 0xEB14_0101, 0x100), (0, 0xFFFF_FFFF, 0x7F)]


def test_identify_by_pio_has_a_pio_setup_frame_and_no_register_frame(adapter, memory):
    memory.write(RECEIVED, bytes(0x100))
    assert adapter.run(frame(0xEC), [(DATA, 512)]) == 0x50
    data = memory.read(DATA, 512)
    assert data[54:62] == b"8XE6UMH " and int.from_bytes(data[152:154], "little") & 0x100
    setup = memory.read(RECEIVED + 0x20, 20)
    assert setup[0] == 0x5F and setup[1] == 0x60 and setup[2] == 0x58 and setup[15] == 0x50
    assert setup[16:18] == b"\0\2" and memory.read(RECEIVED + 0x40, 20) == bytes(20)
    assert adapter.pget(PXIS) == 2 and adapter.get(IS) == 1 and adapter.level
    assert adapter.pget(PXCI) == 0 and adapter.moved() == 512
    adapter.pput(PXIS, 2)
    assert adapter.level
    adapter.put(IS, 1)
    assert not adapter.level


def test_dma_read_and_write_in_regions(adapter, memory, image):
    regions = [(DATA, 1024), (DATA + 0x2000, 512), (DATA + 0x4000, 0x2000)]
    assert adapter.run(frame(0x25, 4000, 16), regions) == 0x50
    got = memory.read(DATA, 1024) + memory.read(DATA + 0x2000, 512) + memory.read(DATA + 0x4000, 13 * 512)
    assert got == image.read(4000, 16) and adapter.moved() == 8192
    assert memory.read(RECEIVED + 0x40, 4) == bytes((0x34, 0x40, 0x50, 0)) and adapter.pget(PXIS) == 1
    memory.write(DATA, b"\x9d" * 1024)
    assert adapter.run(frame(0x35, 70, 2), [(DATA, 1024)], flags=0x40) == 0x50
    assert image.read(70, 2) == b"\x9d" * 1024


def test_pio_write_and_multiple(adapter, memory, image):
    memory.write(DATA, b"\x42" * 1024)
    assert adapter.run(frame(0x30, 9, 2), [(DATA, 1024)], flags=0x40) == 0x50
    assert image.read(9, 2) == b"\x42" * 1024 and adapter.pget(PXIS) & 1
    assert adapter.run(frame(0xC6, 0, 8)) == 0x50
    assert adapter.run(frame(0x29, 9, 20), [(DATA, 20 * 512)]) == 0x50
    assert memory.read(DATA, 20 * 512) == image.read(9, 20)


def test_queued_commands_complete_by_set_device_bits(adapter, memory, image):
    for slot, lba in ((3, 100), (7, 200), (31, 300)):
        adapter.prepare(slot, frame(0x60, lba, slot << 3, 4), [(DATA + 0x1000 * slot, 2048)])
    slots = 1 << 3 | 1 << 7 | 1 << 31
    adapter.pput(PXSACT, slots)
    adapter.pput(PXCI, slots)
    assert adapter.pget(PXSACT) == adapter.pget(PXCI) == 0 and adapter.pget(PXIS) == 8
    for slot, lba in ((3, 100), (7, 200), (31, 300)):
        assert memory.read(DATA + 0x1000 * slot, 2048) == image.read(lba, 4)
    assert memory.read(RECEIVED + 0x58, 8) == bytes((0xA1, 0x40, 0x50, 0)) + (1 << 31).to_bytes(4, "little")
    memory.write(DATA, b"\x01" * 512)
    adapter.prepare(0, frame(0x61, 50, 0, 1, 0xC0), [(DATA, 512)], flags=0x40)
    adapter.pput(PXSACT, 1)
    adapter.pput(PXCI, 1)
    assert image.sector(50) == b"\x01" * 512 and image.flushes == 1  # forced unit access


def test_queued_error_stops_the_list_until_restart(adapter, memory, image):
    image.broken.add(101)
    adapter.prepare(2, frame(0x60, 100, 2 << 3, 4), [(DATA, 2048)])
    adapter.prepare(5, frame(0x60, 500, 5 << 3, 4), [(DATA + 0x5000, 2048)])
    adapter.pput(PXSACT, 0x24)
    adapter.pput(PXCI, 0x24)
    assert adapter.pget(PXIS) & 0x4000_0008 == 0x4000_0008 and adapter.pget(PXTFD) == 0x4051
    assert adapter.pget(PXSACT) == 0x24 and adapter.pget(PXCI) == 0x20
    adapter.pput(PXCMD, 0x10)
    assert adapter.pget(PXSACT) == adapter.pget(PXCI) == 0
    adapter.start()
    assert adapter.run(frame(0x2F, 0x10, 1), [(DATA, 512)]) == 0x50
    log = memory.read(DATA, 512)
    assert log[0] == 2 and log[2:4] == b"\x51\x40" and not sum(log) & 0xFF


def test_command_error(adapter):
    assert adapter.run(frame(0x25, 5000, 1), [(DATA, 512)]) == 0x51
    assert adapter.pget(PXIS) & 0x4000_0001 == 0x4000_0001 and adapter.pget(PXTFD) >> 8 == 0x10
    assert adapter.pget(PXCI) == 1
    adapter.pput(PXCMD, 0x10)
    adapter.start()
    assert adapter.run(frame(0xEC), [(DATA, 512)]) == 0x50


def test_trim(adapter, memory, image):
    memory.write(DATA, (10 | 7 << 48).to_bytes(8, "little").ljust(512, b"\0"))
    assert adapter.run(frame(0x06, 0, 1, 1), [(DATA, 512)], flags=0x40) == 0x50
    assert image.discarded == [(10, 7)]


def test_structures_outside_memory_are_host_bus_errors(adapter, memory):
    adapter.prepare(0, frame(0x25, 0, 1), [(DATA, 512)])
    memory.write(LIST, struct.pack("<IIQ", 1 << 16 | 5, 0, 0x7FFF_FF80))
    adapter.pput(PXCI, 1)
    assert adapter.pget(PXIS) & 0x2000_0000 and adapter.pget(PXCI) == 1
    adapter.pput(PXCMD, 0x10)
    adapter.start()
    adapter.pput(PXCLB, 0xFFF0_0000)
    adapter.pput(PXCI, 1)
    assert adapter.pget(PXIS) & 0x2000_0000


def test_data_beyond_memory_float_and_too_few_regions_overflow(adapter, memory, image):
    assert adapter.run(frame(0x25, 0, 2), [(0xF000_0000, 1024)]) == 0x50
    assert adapter.run(frame(0x35, 5, 1), [(0xF000_0000, 512)], flags=0x40) == 0x50
    assert adapter.run(frame(0x25, 0, 2), [(DATA, 512)]) & 0x08
    assert adapter.pget(PXIS) & 0x0900_0000 == 0x0900_0000


def test_software_reset_comreset_and_adapter_reset(adapter):
    adapter.run(bytes((0x27, 0)).ljust(15, b"\0") + b"\4")
    assert adapter.pget(PXTFD) & 0xFF == 0x80
    assert adapter.run(bytes((0x27, 0)).ljust(16, b"\0")) == 0x50 and adapter.pget(PXSIG) == 0x101
    adapter.pput(PXCMD, 0x10)
    adapter.pput(PXSCTL, 0x301)
    assert adapter.pget(PXTFD) == 0x7F
    adapter.pput(PXSCTL, 0x300)
    assert adapter.pget(PXTFD) == 0x150 and adapter.pget(PXIS) & 0x400040 == 0x400040
    adapter.pput(PXSERR, 0xFFFF_FFFF)
    assert not adapter.pget(PXIS) & 0x400040
    adapter.put(GHC, 0x8000_0001)
    assert adapter.get(GHC) == 0x8000_0000 and adapter.pget(PXCLB) == 0 and adapter.pget(PXSSTS) == 0x123


def test_atapi_packets_by_pio_and_dma(memory, image):
    medium = MemoryImage(100, 2048, True)
    adapter = Adapter(memory, AtaDisk(image, serial_ata=True), AtapiCdrom(medium, serial_ata=True)).start(1)
    assert adapter.run(frame(0xA1), [(DATA, 512)]) == 0x40
    packet = lambda features: frame(0xA0, 0xFFFE00, 0, features, 0)  # noqa: E731 - a frame with the byte count limit
    assert adapter.run(packet(0), packet=bytes(12), flags=0x20) == 0x41  # unit attention
    adapter.pput(PXCMD, 0x10)
    adapter.start(1)
    assert adapter.run(packet(0), [(DATA, 18)], packet=bytes((3, 0, 0, 0, 18)), flags=0x20) == 0x40
    assert memory.read(DATA, 18)[12] in (0x29, 0x00)
    adapter.pput(PXIS, 0xFF)
    read = bytes((0x28, 0, 0, 0, 0, 5, 0, 0, 3, 0))
    assert adapter.run(packet(1), [(DATA, 4096), (DATA + 0x8000, 2048)], packet=read, flags=0x20) == 0x40
    assert memory.read(DATA, 4096) + memory.read(DATA + 0x8000, 2048) == medium.read(5, 3)
    assert adapter.moved() == 6144 and adapter.pget(PXIS) == 1
    memory.write(DATA, bytes(8192))
    assert adapter.run(packet(0), [(DATA, 6144)], packet=read, flags=0x20) == 0x40
    assert memory.read(DATA, 6144) == medium.read(5, 3)


def test_message_signalled_interrupt_is_not_lost(memory, image):
    adapter = Adapter(memory, AtaDisk(image, serial_ata=True)).start()
    sent = []
    adapter.function.send_message = lambda address, data: sent.append((address, data))
    at = adapter.function.msi.at
    adapter.function.config_write(at + 4, 4, 0xFEE0_0000)
    adapter.function.config_write(at + 12, 2, 0x51)
    adapter.function.config_write(at + 2, 2, 1)
    adapter.run(frame(0xEC), [(DATA, 512)])
    assert sent == [(0xFEE0_0000, 0x51)]
    adapter.put(IS, 1)  # the port's cause is still there
    assert len(sent) == 2


def test_state(adapter, memory, image):
    adapter.run(frame(0xC6, 0, 8))
    state = adapter.function.save()
    other = Adapter(memory, AtaDisk(image, serial_ata=True))
    other.function.load(state)
    assert other.run(frame(0x29, 9, 8), [(DATA, 4096)]) == 0x50 and other.level


@pytest.mark.parametrize("seed", range(4))
def test_random_driver_breaks_nothing(memory, seed):
    dice = random.Random(seed)
    drives = AtaDisk(Image(5000), serial_ata=True), AtapiCdrom(MemoryImage(100, 2048, True), serial_ata=True)
    adapter = Adapter(memory, *drives).start(0)
    adapter.start(1)
    for _ in range(1500):
        adapter.port = dice.randrange(2)
        kind = dice.randrange(6)
        value = dice.choice((0, 1, dice.getrandbits(5), dice.getrandbits(32)))
        if kind == 0:
            adapter.put(dice.choice((dice.randrange(0x300) & ~3, 0x100 + 4 * dice.randrange(16))), value)
        elif kind == 1:
            adapter.mmio.read(ABAR + dice.randrange(0x1000), dice.choice((1, 2, 4)))
        elif kind == 2:
            adapter.start(adapter.port)
        else:
            known = (0x25, 0x35, 0x60, 0x61, 0xA0, 0xEC, 0xA1, 0x20, 0x30, 0x06, 0x2F)
            command = dice.choice((*known, dice.getrandbits(8)))
            built = frame(command, dice.randrange(6000), dice.randrange(20), dice.getrandbits(4), dice.getrandbits(8))
            if dice.random() < 0.2:
                built = bytes((0x27, 0)).ljust(15, b"\0") + bytes((dice.getrandbits(8),))
            regions = [
                (dice.choice((DATA, dice.getrandbits(20), dice.getrandbits(64))), dice.randrange(1, 20000))
                for _ in range(dice.randrange(4))
            ]
            slot = dice.randrange(32)
            packet = bytes((dice.choice((0, 3, 0x12, 0x28, 0xBE, 0x55, dice.getrandbits(8))),)) + dice.randbytes(11)
            adapter.prepare(slot, built, regions, packet=packet, flags=dice.choice((0, 0x20, 0x40)))
            adapter.pput(PXSACT, dice.choice((0, 1 << slot)))
            adapter.pput(PXCI, dice.choice((1 << slot, dice.getrandbits(32))))
    adapter.function.load(adapter.function.save())
