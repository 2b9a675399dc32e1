"""NVMe from the driver's side: controller registers, queues, PRP lists, admin and I/O commands."""

from __future__ import annotations

import random
import struct

import pytest
from ide_fixtures import MemoryImage

from x86emu.bus.pci import PciBus
from x86emu.bus.spaces import MmioSpace, PortSpace
from x86emu.devices.nvme import Nvme

BASE = 0xFEB0_0000
ADMIN_SQ, ADMIN_CQ, SQ, CQ, DATA, LIST = 0x10000, 0x11000, 0x12000, 0x13000, 0x40000, 0x20000
DO_NOT_RETRY = 0x4000


class Disk(MemoryImage):
    def __init__(self, sectors=4000):
        super().__init__(sectors)
        self.calls = []

    def write_zeroes(self, lba, count, *, unmap=True):
        self.calls.append(("zero", lba, count, unmap))

    def discard(self, lba, count):
        self.calls.append(("discard", lba, count))


class Driver:
    def __init__(self, disk, memory):
        self.memory, self.disk = memory, disk
        self.mmio, self.level = MmioSpace(), False
        bus = PciBus(PortSpace(), self.mmio, self._intx)
        limit = len(memory.bytes)
        self.function = Nvme(disk, memory, lambda address, length: address + length <= limit)
        bus.add(self.function, 3)
        self.function.config_write(0x10, 4, BASE)
        self.function.config_write(4, 2, 7)
        self.identifier = 0

    def _intx(self, pirq, level):
        self.level = level

    def get(self, offset, size=4):
        return self.mmio.read(BASE + offset, size)

    def put(self, offset, value):
        self.mmio.write(BASE + offset, 4, value)

    def enable(self):
        self.put(0x14, 0)
        self.put(0x24, 15 << 16 | 15)
        for offset, value in ((0x28, ADMIN_SQ), (0x30, ADMIN_CQ)):
            self.put(offset, value)
            self.put(offset + 4, 0)
        self.memory.write(ADMIN_SQ, bytes(0x4000))
        self.put(0x14, 0x460001)
        self.tails, self.heads, self.phases = {0: 0, 1: 0}, {0: 0, 1: 0}, {0: 1, 1: 1}

    def start(self):
        self.enable()
        assert self.get(0x1C) == 1
        assert self.command(5, prp1=CQ, d10=15 << 16 | 1, d11=3)[0] == 0
        assert self.command(1, prp1=SQ, d10=15 << 16 | 1, d11=1 << 16 | 1)[0] == 0

    def submit(self, opcode, queue=0, *, nsid=0, prp1=0, prp2=0, d10=0, d11=0, d12=0, flags=0):
        base = (ADMIN_SQ, SQ)[queue]
        self.identifier = self.identifier + 1 & 0xFFFF
        entry = struct.pack("<BBHIQQQQ", opcode, flags, self.identifier, nsid, 0, 0, prp1, prp2)
        entry += struct.pack("<IIIIII", d10, d11, d12, 0, 0, 0)
        self.memory.write(base + 64 * self.tails[queue], entry)
        self.tails[queue] = (self.tails[queue] + 1) % 16
        self.put(0x1000 + 8 * queue, self.tails[queue])

    def reap(self, queue=0):
        """Status and result of the next completion; None where there is none."""
        at = (ADMIN_CQ, CQ)[queue] + 16 * self.heads[queue]
        result, _, _, number, identifier, status = struct.unpack("<IIHHHH", self.memory.read(at, 16))
        if status & 1 != self.phases[queue]:
            return None
        assert number == queue and identifier == self.identifier and self.level
        self.heads[queue] = (self.heads[queue] + 1) % 16
        self.phases[queue] ^= not self.heads[queue]
        self.put(0x1004 + 8 * queue, self.heads[queue])
        assert not self.level
        return status >> 1, result

    def command(self, opcode, queue=0, **fields):
        self.submit(opcode, queue, **fields)
        done = self.reap(queue)
        assert done is not None, self.function.problem
        return done

    def io(self, opcode, lba=0, count=1, **fields):
        return self.command(opcode, 1, nsid=1, d10=lba, d12=count - 1 | fields.pop("d12", 0), **fields)[0]


@pytest.fixture
def disk():
    return Disk()


@pytest.fixture
def nvme(disk, memory):
    driver = Driver(disk, memory)
    driver.start()
    return driver


def test_identity(nvme, memory):
    assert nvme.function.config[9:12] == b"\x02\x08\x01" and nvme.get(8) == 0x10400
    assert nvme.get(0) & 0xFFFF == 1023 and nvme.get(4) >> 5 & 1
    assert nvme.command(6, prp1=DATA, d10=1)[0] == 0
    assert memory.read(DATA + 24, 11) == b"X86EMU NVME"
    assert nvme.command(6, nsid=1, prp1=DATA, d10=0)[0] == 0
    assert struct.unpack("<Q", memory.read(DATA, 8)) == (4000,) and memory.read(DATA + 130, 1) == b"\x09"
    assert nvme.command(6, prp1=DATA, d10=2)[0] == 0 and memory.read(DATA, 8) == b"\1\0\0\0\0\0\0\0"
    assert nvme.command(6, nsid=2, prp1=DATA, d10=0)[0] == 0x00B | DO_NOT_RETRY
    assert nvme.command(9, d10=7) == (0, 7 << 16 | 7)


def test_read_write_flush(nvme, memory, disk):
    memory.write(DATA + 512, b"ab" * 512)
    assert nvme.io(1, 10, 2, prp1=DATA + 512) == 0 and disk.read(10, 2) == b"ab" * 512
    assert nvme.io(2, 9, 4, prp1=DATA) == 0 and memory.read(DATA, 2048) == disk.read(9, 4)
    assert disk.flushes == 0
    assert nvme.io(0) == 0 and disk.flushes == 1
    assert nvme.io(1, 10, 1, prp1=DATA, d12=1 << 30) == 0 and disk.flushes == 2  # forced unit access
    nvme.command(9, d10=6, d11=0)
    assert nvme.io(1, 10, 1, prp1=DATA) == 0 and disk.flushes == 3  # write cache off


@pytest.mark.parametrize(("offset", "count"), [(0, 16), (512, 15), (0, 17), (2048, 100), (0, 2048)])
def test_prp_lists(nvme, memory, disk, offset, count):
    pages = -(-(offset + count * 512) // 4096)
    memory.bytes.extend(bytes(3 << 20))
    nvme.function.in_memory = lambda address, length: address + length <= 4 << 20
    places = [DATA + 8192 * number for number in range(pages)]  # every other page
    second = places[1] if pages == 2 else LIST
    memory.write(LIST, b"".join(struct.pack("<Q", place) for place in places[1:]))
    assert nvme.io(2, 3, count, prp1=places[0] + offset, prp2=second) == 0
    seen = b"".join(memory.read(place, 4096) for place in places)[offset : offset + count * 512]
    assert seen == disk.read(3, count)


def test_list_that_goes_on_in_another_page(nvme, memory, disk):
    first = LIST + 4096 - 16  # room for two entries, of which the second names the next list
    memory.write(first, struct.pack("<QQ", DATA + 4096, LIST + 4096))
    memory.write(LIST + 4096, struct.pack("<QQ", DATA + 8192, DATA + 12288))
    assert nvme.io(2, 0, 32, prp1=DATA, prp2=first) == 0
    assert memory.read(DATA, 16384) == disk.read(0, 32)


def test_write_zeroes_and_deallocate(nvme, memory, disk):
    assert nvme.io(8, 5, 6, d12=1 << 25) == 0 and nvme.io(8, 5, 6) == 0
    memory.write(DATA, struct.pack("<IIQIIQ", 0, 8, 100, 0, 9, 200))
    assert nvme.command(9, 1, nsid=1, prp1=DATA, d10=1, d11=4)[0] == 0
    assert disk.calls == [("zero", 5, 6, True), ("zero", 5, 6, False), ("discard", 100, 8), ("discard", 200, 9)]
    memory.write(DATA, struct.pack("<IIQ", 0, 8, 3999))
    assert nvme.command(9, 1, nsid=1, prp1=DATA, d10=0, d11=4)[0] == 0x80 | DO_NOT_RETRY


@pytest.mark.parametrize(
    ("arguments", "fields", "status"),
    [
        ((2, 4000, 1), {"prp1": DATA}, 0x80),
        ((2, 3999, 2), {"prp1": DATA}, 0x80),
        ((2, 0, 1), {"prp1": 1 << 40}, 0x04),
        ((1, 0, 1), {"prp1": (1 << 64) - 256}, 0x04),
        ((2, 0, 16), {"prp1": DATA, "prp2": DATA + 1}, 0x13),
        ((2, 0, 32), {"prp1": DATA, "prp2": 1 << 40}, 0x04),
        ((2, 0, 3000), {"prp1": DATA}, 0x02),
        ((2, 0, 1), {"prp1": DATA, "flags": 0x40}, 0x02),
        ((0x77, 0, 1), {}, 0x01),
    ],
)
def test_bad_commands_get_a_status(nvme, arguments, fields, status):
    assert nvme.io(*arguments, **fields) == status | DO_NOT_RETRY and nvme.get(0x1C) == 1


def test_host_errors(nvme, disk):
    disk.broken.add(7)
    assert nvme.io(2, 6, 2, prp1=DATA) == 0x281 | DO_NOT_RETRY
    assert nvme.io(1, 7, 1, prp1=DATA) == 0x280 | DO_NOT_RETRY


def test_queues_that_cannot_be_made(nvme):
    for opcode, d10, d11, prp1, status in (
        (5, 15 << 16 | 1, 3, CQ, 0x101), (5, 15 << 16 | 99, 3, CQ, 0x101), (5, 2, 3, CQ, 0x102),
        (5, 15 << 16 | 2, 2, CQ, 0x02), (5, 15 << 16 | 2, 3, CQ + 8, 0x02), (5, 15 << 16 | 2, 1 << 16 | 3, CQ, 0x108),
        (1, 15 << 16 | 2, 7 << 16 | 1, SQ, 0x100), (4, 1, 0, 0, 0x10C), (0, 9, 0, 0, 0x101), (0x55, 0, 0, 0, 0x01),
    ):  # fmt: skip
        assert nvme.command(opcode, prp1=prp1, d10=d10, d11=d11)[0] == status | DO_NOT_RETRY
    assert nvme.command(0, d10=1)[0] == 0 and nvme.command(4, d10=1)[0] == 0


def test_queue_outside_memory_is_fatal_until_the_controller_is_reset(nvme):
    nvme.command(5, prp1=1 << 40, d10=15 << 16 | 2, d11=3)
    nvme.command(1, prp1=SQ, d10=15 << 16 | 2, d11=2 << 16 | 1)
    nvme.put(0x1000 + 16, 1)
    assert nvme.get(0x1C) & 2 and "outside memory" in nvme.function.problem
    nvme.submit(6, prp1=DATA, d10=1)
    assert nvme.reap() is None
    nvme.start()
    assert nvme.io(0) == 0


def test_wrapping_masking_and_a_full_completion_queue(nvme):
    for _ in range(40):
        assert nvme.io(0) == 0
    nvme.put(0x0C, 1)
    nvme.submit(0, 1, nsid=1)
    assert not nvme.level
    nvme.put(0x10, 1)
    assert nvme.level and nvme.reap(1) == (0, 0)
    for _ in range(15):
        nvme.submit(0, 1, nsid=1)
    nvme.submit(0, 1, nsid=1)  # no room for its completion: held back
    submission = nvme.function.submission[1]
    assert submission.head != submission.tail
    nvme.put(0x100C, (nvme.heads[1] + 1) % 16)
    assert submission.head == submission.tail


def test_shutdown_and_save(nvme, disk, memory):
    other = Driver(disk, memory)
    other.function.load(nvme.function.save())
    other.tails, other.heads, other.phases = nvme.tails, nvme.heads, nvme.phases
    assert other.io(0) == 0
    flushes = disk.flushes
    nvme.put(0x14, 0x464001)
    assert nvme.get(0x1C) == 9 and disk.flushes == flushes + 1
    nvme.put(0x14, 0)
    assert nvme.get(0x1C) == 0


@pytest.mark.parametrize("seed", range(4))
def test_random_driver_breaks_nothing(memory, seed):
    dice = random.Random(seed)
    driver = Driver(Disk(), memory)
    driver.start()
    for _ in range(1000):
        kind = dice.randrange(5)
        value = dice.choice((0, 1, dice.getrandbits(4), dice.getrandbits(32)))
        if kind == 0:
            driver.mmio.write(BASE + dice.choice((dice.randrange(0x40), 0x1000 + dice.randrange(80))), 4, value)
        elif kind == 1:
            driver.mmio.read(BASE + dice.randrange(0x2000), dice.choice((1, 2, 4)))
        elif kind == 4 and driver.get(0x1C) != 1:
            driver.enable()
        else:
            address = dice.choice((DATA, LIST, 4096 * dice.randrange(300), dice.getrandbits(64)))
            opcode = dice.choice((0, 1, 2, 4, 5, 6, 8, 9, 10, 12, dice.getrandbits(8)))
            driver.submit(
                opcode, dice.randrange(2), nsid=dice.randrange(3), prp1=address, prp2=address ^ 4096,
                d10=dice.choice((0, 1, 15 << 16 | 1, value)), d11=dice.choice((1, 3, 65537, value)), d12=value & 511,
            )  # fmt: skip
    driver.function.load(driver.function.save())


def test_each_completion_queue_has_its_message(disk, memory):
    driver = Driver(disk, memory)
    driver.enable()
    assert driver.command(5, prp1=CQ, d10=15 << 16 | 1, d11=3 << 16 | 3)[0] == 0x108 | DO_NOT_RETRY  # pin: 0 only
    sent = []
    driver.function.bus.message_sink = lambda requester, address, data: sent.append(data)
    msix = driver.function.msix
    for vector in range(msix.vectors):
        msix.write_table(16 * vector, 4, 0xFEE0_0000)
        msix.write_table(16 * vector + 8, 4, 0x70 + vector)
        msix.write_table(16 * vector + 12, 4, 0)
    driver.function.config_write(msix.at + 2, 2, 0x8000)
    driver.submit(5, prp1=CQ, d10=15 << 16 | 1, d11=3 << 16 | 3)
    driver.submit(1, prp1=SQ, d10=15 << 16 | 1, d11=1 << 16 | 1)
    driver.submit(0, 1, nsid=1)
    assert sent == [0x70, 0x70, 0x73] and not driver.level
    driver.submit(5, prp1=CQ, d10=15 << 16 | 2, d11=9 << 16 | 3)
    assert struct.unpack("<H", memory.read(ADMIN_CQ + 16 * 3 + 14, 2))[0] >> 1 == 0x108 | DO_NOT_RETRY
