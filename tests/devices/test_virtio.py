"""Virtio from the driver's side: both interfaces, the ring's rules, and the device types."""

from __future__ import annotations

import random
import struct

import pytest
from ide_fixtures import MemoryImage
from virtio_driver import (
    AVAIL,
    BUFFERS,
    DESC,
    EVENT_IDX,
    INDIRECT,
    INDIRECT_DESC,
    IO,
    MEMORY,
    NEXT,
    USED,
    VERSION_1,
    WRITE,
    Driver,
)

from x86emu.devices.virtio_9p import Virtio9p
from x86emu.devices.virtio_balloon import VirtioBalloon
from x86emu.devices.virtio_blk import VirtioBlk
from x86emu.devices.virtio_console import ConsolePort, VirtioConsole
from x86emu.devices.virtio_rng import VirtioRng
from x86emu.errors import UserInputError

NEEDS_RESET = 0x40


class Disk(MemoryImage):
    def __init__(self, sectors=1000, read_only=False):
        super().__init__(sectors, read_only=read_only)
        self.calls = []

    def read(self, lba, count):
        if lba + count > self.sectors:
            raise OSError("beyond the end")
        return super().read(lba, count)

    def write(self, lba, data):
        if len(data) % 512:
            raise ValueError("no whole sectors")
        if self.read_only or lba + len(data) // 512 > self.sectors:
            raise OSError("refused")
        super().write(lba, bytes(data))

    def write_zeroes(self, lba, count, *, unmap=True):
        self.calls.append(("zero", lba, count, unmap))

    def discard(self, lba, count):
        self.calls.append(("discard", lba, count))


@pytest.fixture
def disk():
    return Disk()


@pytest.fixture
def blk(disk, memory):
    driver = Driver(VirtioBlk(disk, serial="SERIAL"), memory)
    driver.start()
    return driver


def header(kind, sector=0):
    return struct.pack("<IIQ", kind, 0, sector)


def test_identity_and_capabilities(blk):
    config = blk.function.config
    assert struct.unpack_from("<HH", config) == (0x1AF4, 0x1001) and struct.unpack_from("<H", config, 0x2E) == (2,)
    assert config[6] & 0x10 and config[8] == 0 and config[0x3D] == 1
    at, kinds = config[0x34], {}
    while at:
        vendor, following, _, kind, bar, offset, length = struct.unpack_from("<BBBBB3xII", config, at)
        if vendor == 0x11:
            at = following
            continue
        assert vendor == 9 and bar == 4 or kind == 5
        kinds[kind] = (offset, length)
        at = following
    assert kinds[1] == (0, 0x1000) and set(kinds) == {1, 2, 3, 4, 5}
    assert blk.offered() & VERSION_1
    assert blk.get(0x2000, 4) == 1000 and blk.get(0x12, 2) == 1


def test_read_write_flush_id(blk, disk):
    used, data = blk.request([header(0, 7)], [512, 1024, 1])
    assert used == 1537 and data == disk.read(7, 3) + b"\0"
    assert blk.level and blk.get(0x1000, 1) == 1 and not blk.level
    assert blk.request([header(1, 9), b"a" * 512, b"b" * 512], [1]) == (1, b"\0")
    assert disk.read(9, 2) == b"a" * 512 + b"b" * 512 and disk.flushes == 0
    assert blk.request([header(4)], [1]) == (1, b"\0") and disk.flushes == 1
    assert blk.request([header(8)], [20, 1]) == (21, b"SERIAL".ljust(20, b"\0") + b"\0")


def test_framing_is_free(blk, disk):
    """Section 2.7.4.2: the parts of a request may be cut anywhere."""
    whole = header(1, 3) + bytes(range(256)) * 4
    assert blk.request([whole[:5], whole[5:700], whole[700:]], [1]) == (1, b"\0")
    assert disk.read(3, 2) == whole[16:]
    used, data = blk.request([header(0, 3)[:9], header(0, 3)[9:]], [3, 1000, 22])
    assert used == 1025 and data == whole[16:] + b"\0"


def test_discard_and_write_zeroes(blk, disk):
    segment = struct.pack("<QII", 10, 20, 0)
    assert blk.request([header(11), segment + segment], [1])[1] == b"\0"
    assert blk.request([header(13), struct.pack("<QII", 1, 2, 1)], [1])[1] == b"\0"
    assert disk.calls == [("discard", 10, 20)] * 2 + [("zero", 1, 2, True)]
    assert blk.request([header(11), struct.pack("<QII", 1, 2, 1)], [1])[1] == b"\2"  # unmap in a discard
    assert blk.request([header(13), struct.pack("<QII", 1, 1 << 30, 0)], [1])[1] == b"\1"
    assert blk.request([header(13), segment[:7]], [1])[1] == b"\1"


@pytest.mark.parametrize(
    ("readable", "writable", "status"),
    [
        ([header(0, 999)], [1024, 1], 1),
        ([header(0, 1 << 60)], [512, 1], 1),
        ([header(0, 0)], [500, 1], 1),
        ([header(1, 0), b"x" * 100], [1], 1),
        ([header(1, 1000), b"x" * 512], [1], 1),
        ([header(99)], [1], 2),
        ([b"short"], [1], 1),
    ],
)
def test_bad_requests_get_a_status(blk, readable, writable, status):
    used, data = blk.request(readable, writable)
    assert data[-1] == status and used >= 1 and blk.status == 0xF


def test_host_errors_and_read_only(disk, memory):
    disk.broken.add(5)
    driver = Driver(VirtioBlk(disk), memory)
    driver.start()
    assert driver.request([header(0, 4)], [1024, 1])[1][-1] == 1
    assert driver.request([header(1, 5), bytes(512)], [1])[1] == b"\1"
    driver = Driver(VirtioBlk(Disk(read_only=True)), memory)
    assert driver.offered() & 1 << 5 and not driver.offered() & (1 << 13 | 1 << 14)
    driver.start()
    assert driver.request([header(1, 5), bytes(512)], [1])[1] == b"\1"
    assert driver.request([header(11), bytes(16)], [1])[1] == b"\2"


def test_without_the_flush_feature_writes_are_durable(disk, memory):
    driver = Driver(VirtioBlk(disk), memory)
    driver.start(VERSION_1)
    driver.request([header(1, 5), bytes(512)], [1])
    assert disk.flushes == 1


def test_indirect_descriptors(blk, disk, memory):
    table = struct.pack("<QIHH", BUFFERS, 16, NEXT, 1) + struct.pack("<QIHH", BUFFERS + 512, 513, WRITE, 0)
    memory.write(BUFFERS, header(0, 2))
    memory.write(0x1000, table)
    blk.describe(5, 0x1000, 32, INDIRECT)
    blk.offer(5)
    blk.notify()
    assert blk.used() == (5, 513) and memory.read(BUFFERS + 512, 513) == disk.read(2, 1) + b"\0"


def test_event_index(disk, memory):
    driver = Driver(VirtioBlk(disk), memory)
    driver.start(VERSION_1 | EVENT_IDX)
    memory.write(AVAIL + 4 + 2 * driver.size, struct.pack("<H", 1))  # tell me after the second
    driver.request([header(4)], [1])
    assert not driver.level and memory.read(USED + 4 + 8 * driver.size, 2) == b"\1\0"
    driver.request([header(4)], [1])
    assert driver.level


def test_no_interrupt_flag(blk, memory):
    memory.write(AVAIL, b"\1\0")
    blk.request([header(4)], [1])
    assert not blk.level


def broken_rings():
    def loop(driver, memory):
        driver.describe(0, BUFFERS, 16, NEXT, 1)
        driver.describe(1, BUFFERS, 16, NEXT, 0)

    def next_beyond(driver, memory):
        driver.describe(0, BUFFERS, 16, NEXT, 16)

    def outside(driver, memory):
        driver.describe(0, 1 << 40, 16)

    def wraps(driver, memory):
        driver.describe(0, (1 << 64) - 8, 16)

    def half_outside(driver, memory):
        driver.describe(0, (1 << 20) - 8, 16)

    def readable_after_writable(driver, memory):
        driver.describe(0, BUFFERS, 16, NEXT | WRITE, 1)
        driver.describe(1, BUFFERS, 16)

    def indirect_loop(driver, memory):
        memory.write(0x1000, struct.pack("<QIHH", BUFFERS, 16, NEXT, 0))
        driver.describe(0, 0x1000, 16, INDIRECT)

    def indirect_in_indirect(driver, memory):
        memory.write(0x1000, struct.pack("<QIHH", 0x1000, 16, INDIRECT, 0))
        driver.describe(0, 0x1000, 16, INDIRECT)

    def indirect_odd(driver, memory):
        driver.describe(0, 0x1000, 17, INDIRECT)

    def indirect_outside(driver, memory):
        driver.describe(0, 0xFFFFF000, 1 << 12, INDIRECT)

    def head_beyond(driver, memory):
        memory.write(AVAIL + 4, struct.pack("<H", 16))

    def index_beyond(driver, memory):
        memory.write(AVAIL + 2, struct.pack("<H", 500))

    return [f for f in locals().values() if callable(f)]


@pytest.mark.parametrize("break_it", broken_rings(), ids=lambda f: f.__name__)
def test_broken_ring_makes_the_device_ask_for_a_reset(blk, memory, break_it):
    blk.describe(0, BUFFERS, 16)
    blk.offer(0)
    break_it(blk, memory)
    before = bytes(memory.bytes)
    blk.notify()
    assert blk.status & NEEDS_RESET and blk.level and blk.get(0x1000, 1) == 2 and blk.function.problem
    assert memory.bytes == before
    blk.notify()
    assert blk.used() is None
    blk.start()
    assert blk.request([header(4)], [1]) == (1, b"\0")


def test_rings_outside_memory(disk, memory):
    for offset in (0x20, 0x28, 0x30):
        driver = Driver(VirtioBlk(disk), memory)
        driver.start()
        driver.function.queues[0].enabled = False
        driver.put(0x16, 2, 0)
        driver.put(offset + 4, 4, 0xFFFF_FFFF)
        driver.put(0x1C, 2, 1)
        driver.describe(0, BUFFERS, 1, WRITE)
        driver.offer(0)
        driver.notify()
        assert driver.status & NEEDS_RESET


def test_features_that_were_not_offered_are_refused(blk):
    for accepted in (1 << 50 | VERSION_1, 0):
        blk.put(0x14, 1, 0)
        blk.put(0x14, 1, 3)
        for half in (0, 1):
            blk.put(8, 4, half)
            blk.put(0xC, 4, accepted >> 32 * half & 0xFFFF_FFFF)
        blk.put(0x14, 1, 0xB)
        assert blk.status == 3


def test_nothing_moves_without_bus_mastering(blk, memory):
    blk.function.config_write(4, 2, 3)
    blk.describe(0, BUFFERS, 1, WRITE)
    blk.offer(0)
    blk.notify()
    assert blk.used() is None and blk.status == 0xF


def test_legacy_interface(disk, memory):
    driver = Driver(VirtioBlk(disk, serial="S"), memory)
    ports = driver.ports
    ports.write(IO + 0x12, 1, 3)
    features = ports.read(IO, 4)
    assert features & 1 << 9 and ports.read(IO + 0x14, 4) == 1000
    ports.write(IO + 4, 4, features & 1 << 9)
    ports.write(IO + 0xE, 2, 0)
    size = ports.read(IO + 0xC, 2)
    assert size == 256
    ports.write(IO + 8, 4, 0x40)
    ports.write(IO + 0x12, 1, 7)
    descriptors, available = 0x40000, 0x40000 + 16 * size
    used = available + 6 + 2 * size + 0xFFF & ~0xFFF
    memory.write(0x1000, header(0, 6))
    memory.write(descriptors, struct.pack("<QIHHQIHH", 0x1000, 16, NEXT, 1, 0x2000, 513, WRITE, 0))
    memory.write(available + 2, b"\1\0\0\0")
    ports.write(IO + 0x10, 2, 0)
    assert memory.read(used + 2, 2) == b"\1\0" and memory.read(0x2000, 513) == disk.read(6, 1) + b"\0"
    assert driver.level and ports.read(IO + 0x13, 1) == 1 and not driver.level
    ports.write(IO + 0xE, 2, 5)
    assert ports.read(IO + 0xC, 2) == 0 and ports.read(IO + 8, 4) == 0
    ports.write(IO + 0x12, 1, 0)
    assert ports.read(IO + 8, 4) == 0


def test_access_by_configuration_space(blk):
    """Section 4.1.4.9, which firmware uses where BARs lie beyond its reach."""
    write, read = blk.function.config_write, blk.function.config_read
    write(0x88, 1, 4)
    write(0x8C, 4, 0x2000)
    write(0x90, 4, 4)
    assert read(0x94, 4) == 1000
    write(0x8C, 4, 0x14)
    write(0x90, 4, 1)
    assert read(0x94, 1) == 0xF
    write(0x94, 4, 0)
    assert blk.status == 0
    for offset, length in ((0x14, 3), (0x4000, 1), (0xFFFFFFFF, 4), (1, 2)):
        write(0x8C, 4, offset)
        write(0x90, 4, length)
        write(0x94, 4, 1)
        read(0x94, 4)


def test_save_and_load(blk, disk, memory):
    blk.request([header(4)], [1])
    other = Driver(VirtioBlk(disk), memory)
    other.function.load(blk.function.save())
    other.queue, other.size, other.seen, other.avail_index = 0, blk.size, blk.seen, blk.avail_index
    assert other.level and other.request([header(0, 1)], [512, 1])[1] == disk.read(1, 1) + b"\0"


def test_rng_is_a_function_of_its_seed(memory):
    streams = []
    for seed in (b"one", b"one", b"two"):
        driver = Driver(VirtioRng(seed=seed), memory)
        driver.start()
        streams.append((driver.request([], [100, 30]), driver.request([], [64])))
        assert streams[-1][0][0] == 130 and streams[-1][0][1][:64] != streams[-1][1][1]
    assert streams[0] == streams[1] != streams[2]


def test_console_both_ways(memory):
    sent = []
    console = VirtioConsole(sent.append)
    driver = Driver(console, memory)
    driver.start(queue=1)
    assert driver.request([b"hello ", b"world"], [])[0] == 0 and sent == [b"hello world"]
    driver.put(0x2008, 4, ord("!"))
    assert sent[-1] == b"!"
    driver.start(queue=0)
    driver.describe(0, BUFFERS, 4, WRITE)
    driver.describe(1, BUFFERS + 4, 64, WRITE)
    driver.offer(0)
    driver.offer(1)
    driver.notify()
    assert driver.used() is None
    console.receive(b"abcdef")
    assert driver.used() == (0, 4) and driver.used() == (1, 2) and memory.read(BUFFERS, 6) == b"abcdef"


@pytest.mark.parametrize(
    "model",
    [
        lambda: VirtioBlk(Disk()), VirtioRng, VirtioConsole, lambda: VirtioBalloon(lambda address, length: None),
        lambda: Virtio9p(Answers(), "x"), lambda: VirtioConsole(ports=[ConsolePort(), ConsolePort(name="a")]),
    ],
    ids=["blk", "rng", "console", "balloon", "9p", "ports"],
)  # fmt: skip
@pytest.mark.parametrize("seed", range(4))
def test_random_driver_breaks_nothing(model, memory, seed):
    dice = random.Random(seed)
    driver = Driver(model(), memory)
    driver.start()
    for _ in range(1500):
        kind = dice.randrange(8)
        value = dice.choice((0, 1, 0xF, dice.getrandbits(4), dice.getrandbits(16), dice.getrandbits(32)))
        if kind < 2:
            driver.mmio.write(MEMORY + dice.choice((dice.randrange(0x40), dice.randrange(0x4000))), 4, value)
        elif kind == 2:
            driver.mmio.read(MEMORY + dice.randrange(0x4000), dice.choice((1, 2, 4)))
        elif kind == 3:
            driver.ports.write(IO + dice.randrange(0x80), dice.choice((1, 2, 4)), value)
        elif kind == 4:
            driver.ports.read(IO + dice.randrange(0x80), dice.choice((1, 2, 4)))
        elif kind == 5:
            flags = dice.randrange(8)
            address = dice.choice((BUFFERS, DESC, USED, dice.getrandbits(64)))
            driver.describe(dice.randrange(16), address, dice.choice((0, 1, 16, 512, 70000)), flags, dice.randrange(18))
        elif kind == 6:
            driver.offer(dice.randrange(17))
            driver.notify()
        elif driver.status & NEEDS_RESET or not driver.status & 4:
            driver.start(dice.choice((None, VERSION_1, VERSION_1 | INDIRECT_DESC)))
    driver.function.load(driver.function.save())


def with_messages(driver: Driver) -> list[tuple[int, int]]:
    """Turns MSI-X on, vector n having data 60h + n."""
    sent: list[tuple[int, int]] = []
    function = driver.function
    assert function.bus is not None
    function.bus.message_sink = lambda requester, address, data: sent.append((address, data))
    function.config_write(0x14, 4, 0xFEC8_0000)
    for vector in range(function.msix.vectors):
        for offset, value in ((0, 0xFEE0_0000), (8, 0x60 + vector), (12, 0)):
            driver.mmio.write(0xFEC8_0000 + 16 * vector + offset, 4, value)
    function.config_write(function.msix.at + 2, 2, 0x8000)
    return sent


def test_messages_by_the_modern_interface(memory):
    driver = Driver(VirtioRng(), memory)
    assert driver.get(0x10, 2) == driver.get(0x1A, 2) == 0xFFFF
    sent = with_messages(driver)
    driver.start()
    driver.put(0x10, 2, 0)
    driver.put(0x1A, 2, 1)
    assert driver.get(0x10, 2) == 0 and driver.get(0x1A, 2) == 1
    driver.request([], [16])
    assert sent == [(0xFEE0_0000, 0x61)] and not driver.level and not driver.get(0x1000, 1)
    before = driver.get(0x15, 1)
    driver.function.config_changed()
    assert sent[1:] == [(0xFEE0_0000, 0x60)] and driver.get(0x15, 1) == before + 1
    driver.put(0x1A, 2, 2)  # there are two
    assert driver.get(0x1A, 2) == 0xFFFF
    driver.request([], [16])
    assert len(sent) == 2
    state = driver.function.save()
    driver.put(0x14, 1, 0)
    assert driver.get(0x10, 2) == 0xFFFF
    driver.function.load(state)
    assert driver.get(0x10, 2) == 0


def test_the_legacy_interface_has_vector_registers_where_messages_are_on(memory):
    driver = Driver(VirtioConsole(), memory)
    assert driver.ports.read(IO + 0x14 + 4, 4) == 1  # the configuration: most ports
    with_messages(driver)
    assert driver.ports.read(IO + 0x18 + 4, 4) == 1
    driver.ports.write(IO + 0x14, 2, 0)
    driver.ports.write(IO + 0x0E, 2, 1)
    driver.ports.write(IO + 0x16, 2, 2)
    assert driver.function.config_vector == 0 and driver.function.queue_vectors == [0xFFFF, 2]
    assert driver.ports.read(IO + 0x16, 2) == 2


class Answers:
    """Stands in for a 9p server."""

    def __init__(self):
        self.requests, self.resets = [], 0

    def handle(self, request, room):
        self.requests.append((request, room))
        return b"answer that is long"

    def reset(self):
        self.resets += 1

    def save(self):
        return {"n": len(self.requests)}

    def load(self, state):
        self.loaded = state


def test_9p_carries_requests_and_answers(memory):
    server = Answers()
    driver = Driver(Virtio9p(server, "work"), memory)
    assert driver.get(0x2000, 2) == 4 and bytes(driver.get(0x2002 + i, 1) for i in range(4)) == b"work"
    assert driver.offered() & 1
    driver.start()
    assert driver.request([b"head", b"body"], [10, 20]) == (19, b"answer that is long" + b"\xee" * 11)
    assert driver.request([b"small"], [6]) == (6, b"answer")
    assert server.requests == [(b"headbody", 30), (b"small", 6)]
    state = driver.function.save()
    driver.function.load(state)
    assert server.loaded == {"n": 2}
    before = server.resets
    driver.put(0x14, 1, 0)
    assert server.resets == before + 1


@pytest.mark.parametrize("tag", ["", "x" * 32])
def test_9p_tags_that_cannot_be(tag):
    with pytest.raises(UserInputError, match="is no tag"):
        Virtio9p(Answers(), tag)
