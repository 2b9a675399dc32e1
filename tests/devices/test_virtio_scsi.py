"""SCSI disks and CD-ROMs behind virtio-scsi, from the driver's side; no guest."""

import random
import struct

import pytest
from ide_fixtures import MemoryImage
from virtio_driver import Driver

from x86emu.devices.cd_sector import raw_sector
from x86emu.devices.scsi_cdrom import ScsiCdrom
from x86emu.devices.scsi_disk import ScsiDisk
from x86emu.devices.virtio_scsi import VirtioScsi

CONTROL, REQUEST = 0, 2


class Image(MemoryImage):
    """Knows what was discarded and what was made zero."""

    def __init__(self, sectors, **kind):
        super().__init__(sectors, **kind)
        self.discarded, self.zeroed = [], []

    def discard(self, lba, count):
        self.discarded.append((lba, count))

    def write_zeroes(self, lba, count, *, unmap=True):
        self.zeroed.append((lba, count, unmap))


class Bus:
    """The adapter with a disk as target 0 and a CD-ROM as target 1."""

    def __init__(self, memory, disk, disc):
        self.disk, self.cdrom = ScsiDisk(disk), ScsiCdrom(disc)
        self.driver = Driver(VirtioScsi([self.disk, self.cdrom]), memory)
        self.driver.start(queue=REQUEST)

    def run(self, target, cdb, out=b"", room=0, lun=0):
        """Response, status, sense data, residual and the data for the host."""
        address = bytes((1, target)) + (0x4000 | lun).to_bytes(2, "big") + bytes(4)
        head = address + bytes(11) + bytes(cdb).ljust(32, b"\0")
        _, answer = self.driver.request([head, out] if out else [head], [108, room] if room else [108])
        length, residual, _, status, response = struct.unpack_from("<IIHBB", answer)
        return response, status, answer[12 : 12 + length], residual, answer[108:]

    def good(self, target, cdb, out=b"", room=0):
        response, status, sense, residual, data = self.run(target, cdb, out, room)
        assert (response, status, sense) == (0, 0, b"")
        return data[: room - residual] if room else residual

    def fails(self, target, cdb, out=b"", room=0):
        response, status, sense, _, _ = self.run(target, cdb, out, room)
        assert (response, status) == (0, 2) and sense[0] & 0x7F == 0x70
        return sense[2] & 0xF, sense[12], sense[13]

    def ready(self):
        for target in (0, 1):
            assert self.fails(target, [0]) == (6, 0x29, 0)  # power on
        return self


@pytest.fixture
def disk():
    return Image(1000)


@pytest.fixture
def disc():
    return Image(400, sector_size=2048, read_only=True)


@pytest.fixture
def bus(memory, disk, disc):
    return Bus(memory, disk, disc).ready()


def ten(code, lba, count, flags=0):
    return struct.pack(">BBIBHB", code, flags, lba, 0, count, 0)


def sixteen(code, lba, count, flags=0):
    return struct.pack(">BBQIBB", code, flags, lba, count, 0, 0)


def test_inquiry_capacity_and_luns(bus):
    data = bus.good(0, [0x12, 0, 0, 0, 36], room=36)
    assert data[0] == 0 and data[2:4] == b"\5\2" and data[8:32] == b"X86EMU  HARDDISK        "
    assert bus.good(1, [0x12, 0, 0, 0, 36], room=36)[0:2] == b"\x05\x80"
    assert bus.good(0, [0x12, 1, 0x00, 0, 64], room=64) == bytes((0, 0, 0, 6, 0, 0x80, 0x83, 0xB0, 0xB1, 0xB2))
    assert bus.good(0, [0x12, 1, 0x80, 0, 64], room=64)[4:] == b"X86EMUS0001"
    limits = bus.good(0, [0x12, 1, 0xB0, 0, 64], room=64)
    assert len(limits) == 64 and int.from_bytes(limits[20:24], "big") == 1 << 22
    assert bus.good(0, [0x12, 1, 0xB2, 0, 64], room=64)[5] & 0xE0 == 0xE0
    assert bus.fails(0, [0x12, 1, 0xC0, 0, 64], room=64) == (5, 0x24, 0)
    assert bus.good(0, [0x25], room=8) == struct.pack(">II", 999, 512)
    capacity = bus.good(0, [0x9E, 0x10, *bytes(8), 0, 0, 0, 32], room=32)
    assert struct.unpack_from(">QI", capacity) == (999, 512) and capacity[14] == 0x80
    assert bus.good(0, [0xA0, *bytes(5), 0, 0, 0, 16], room=16) == bytes((0, 0, 0, 8)) + bytes(12)


def test_units_that_are_not_there(bus):
    assert bus.run(2, [0])[0] == 3
    response, status, sense, _, _ = bus.run(0, [0], lun=1)
    assert (response, status, sense[2], sense[12]) == (0, 2, 5, 0x25)
    assert bus.run(0, [0x12, 0, 0, 0, 36], room=36, lun=1)[4][0] == 0x7F


@pytest.mark.parametrize(
    "cdb",
    [struct.pack(">BBHBB", 8, 0, 7, 3, 0), ten(0x28, 7, 3), struct.pack(">BBIIBB", 0xA8, 0, 7, 3, 0, 0),
     sixteen(0x88, 7, 3)],
    ids=["6", "10", "12", "16"],
)  # fmt: skip
def test_reads_of_every_length(bus, disk, cdb):
    assert bus.good(0, cdb, room=1536) == disk.read(7, 3)


@pytest.mark.parametrize(
    "cdb",
    [struct.pack(">BBHBB", 0x0A, 0, 7, 2, 0), ten(0x2A, 7, 2), struct.pack(">BBIIBB", 0xAA, 0, 7, 2, 0, 0),
     sixteen(0x8A, 7, 2), ten(0x2E, 7, 2)],
    ids=["6", "10", "12", "16", "and verify"],
)  # fmt: skip
def test_writes_of_every_length(bus, disk, cdb):
    assert bus.good(0, cdb, out=b"\x3c" * 1024) == 0
    assert disk.read(7, 2) == b"\x3c" * 1024 and disk.flushes == 0


def test_forced_unit_access_write_cache_and_synchronize(bus, disk):
    bus.good(0, ten(0x2A, 0, 1, 0x08), out=bytes(512))
    assert disk.flushes == 1
    bus.good(0, [0x35])
    assert disk.flushes == 2
    page = bus.good(0, [0x5A, 8, 8, 0, 0, 0, 0, 0, 64], room=64)
    assert page[8:11] == bytes((8, 18, 4))
    bus.good(0, [0x15, 0x10, 0, 0, 24], out=bytes(4) + bytes((8, 18, 0)) + bytes(17))
    bus.good(0, ten(0x2A, 0, 1), out=bytes(512))
    assert disk.flushes == 4


def test_ranges_medium_errors_and_write_protection(bus, disk):
    assert bus.fails(0, ten(0x28, 999, 2), room=1024) == (5, 0x21, 0)
    assert bus.fails(0, sixteen(0x8A, 1 << 62, 1), out=bytes(512)) == (5, 0x21, 0)
    disk.broken.add(5)
    response, status, sense, _, _ = bus.run(0, ten(0x28, 5, 1), room=512)
    assert (status, sense[2], sense[12]) == (2, 3, 0x11) and sense[0] == 0xF0 and sense[3:7] == b"\0\0\0\5"
    assert bus.fails(0, ten(0x2A, 5, 1), out=bytes(512)) == (3, 0x0C, 0)
    assert bus.fails(0, ten(0x2F, 0, 10)) == (3, 0x11, 0)
    disk.read_only = True
    assert bus.fails(0, ten(0x2A, 1, 1), out=bytes(512)) == (7, 0x27, 0)
    assert bus.good(0, [0x1A, 0, 0x3F, 0, 64], room=64)[2] & 0x80
    assert bus.fails(0, [0xFF]) == (5, 0x20, 0)
    disk.broken.clear()
    assert bus.run(0, ten(0x28, 0, 8), room=512)[0] == 1  # overrun


def test_verify_compares(bus, disk):
    bus.good(0, ten(0x2F, 3, 1, 2), out=disk.sector(3))
    assert bus.fails(0, ten(0x2F, 3, 1, 2), out=bytes(512)) == (0xE, 0x1D, 0)


def test_unmap_and_write_same_reach_the_image(bus, disk):
    ranges = struct.pack(">QI4xQI4x", 10, 20, 900, 100)
    bus.good(0, [0x42, *bytes(6), 0, 40, 0], out=struct.pack(">HH4x", 38, 32) + ranges)
    assert disk.discarded == [(10, 20), (900, 100)]
    outside = struct.pack(">HH4xQI4x", 22, 16, 990, 11)
    assert bus.fails(0, [0x42, *bytes(6), 0, 24, 0], out=outside) == (5, 0x21, 0)
    bus.good(0, sixteen(0x93, 40, 8, 0x08), out=bytes(512))
    bus.good(0, sixteen(0x93, 60, 8, 0x01))
    assert disk.zeroed == [(40, 8, True), (60, 8, False)]
    bus.good(0, ten(0x41, 50, 300), out=b"\x77" * 512)
    assert disk.sector(349) == b"\x77" * 512


def test_task_management(bus):
    driver = bus.driver
    driver.setup_queue(CONTROL)
    for subtype, target, response in ((5, 0, 0), (0, 0, 0), (9, 0, 11), (5, 7, 3)):
        request = struct.pack("<II", 0, subtype) + bytes((1, target, 0x40, 0)) + bytes(12)
        assert driver.request([request], [1])[1] == bytes((response,))
    assert driver.request([struct.pack("<II8sI", 1, 0, bytes((1, 0, 0x40, 0)), 2)], [5])[1] == bytes(5)
    assert bus.disk.attention == (6, 0x29, 0) and bus.cdrom.attention is None  # one unit was reset


def test_requests_that_are_too_short_or_too_large(bus):
    assert bus.driver.request([bytes(20)], [108])[0] == 0
    assert bus.driver.request([bytes(51)], [50])[0] == 0


# --- CD-ROM


def test_cdrom_reads_and_media_change(bus, disc):
    assert bus.good(1, ten(0x28, 16, 2), room=4096) == disc.read(16, 2)
    assert bus.fails(1, ten(0x28, 400, 1), room=2048) == (5, 0x21, 0)
    bus.cdrom.eject()
    assert bus.fails(1, [0]) == (2, 0x3A, 2)
    bus.cdrom.insert(Image(100, sector_size=2048, read_only=True))
    event = bus.good(1, [0x4A, 1, 0, 0, 0x10, 0, 0, 0, 8], room=8)
    assert event[4:6] == bytes((2, 2))
    assert bus.fails(1, [0]) == (6, 0x28, 0)
    assert bus.good(1, [0x25], room=8) == struct.pack(">II", 99, 2048)


def test_guest_locks_opens_and_closes_the_tray(bus):
    bus.good(1, [0x1E, 0, 0, 0, 1])
    assert not bus.cdrom.eject()
    assert bus.fails(1, [0x1B, 0, 0, 0, 2]) == (5, 0x53, 2)
    bus.good(1, [0x1E, 0, 0, 0, 0])
    bus.good(1, [0x1B, 0, 0, 0, 2])
    assert bus.fails(1, [0]) == (2, 0x3A, 2)
    bus.good(1, [0x1B, 0, 0, 0, 3])
    assert bus.fails(1, [0]) == (6, 0x28, 0)
    bus.good(1, [0])


def test_multi_session_disc(memory, disk):
    disc = Image(20000, sector_size=2048, read_only=True)
    bus = Bus(memory, disk, None).ready()
    bus.cdrom.insert(disc, (0, 15000))
    assert bus.fails(1, [0])[0] == 6
    toc = bus.good(1, [0x43, 0, 0, 0, 0, 0, 0, 0, 64], room=64)
    assert toc[:4] == bytes((0, 26, 1, 2))
    assert [struct.unpack_from(">I", toc, 8 + 8 * n)[0] for n in range(3)] == [0, 15000, 20000]
    sessions = bus.good(1, [0x43, 0, 1, 0, 0, 0, 0, 0, 12], room=12)
    assert sessions[2:4] == b"\1\2" and sessions[6] == 2 and sessions[8:12] == struct.pack(">I", 15000)
    raw = bus.good(1, [0x43, 0, 2, 0, 0, 0, 1, 1, 0], room=256)
    points = [(raw[4 + 11 * n], raw[7 + 11 * n]) for n in range(8)]
    assert points == [(1, 0xA0), (1, 0xA1), (1, 0xA2), (1, 1), (2, 0xA0), (2, 0xA1), (2, 0xA2), (2, 2)]
    assert raw[4 + 22 + 8 : 4 + 22 + 11] == bytes((0, 50, 0))  # lead-out of session 1: sector 3600
    information = bus.good(1, [0x51, 0, 0, 0, 0, 0, 0, 0, 34], room=34)
    assert information[4:7] == b"\2\2\2"
    for kind, number, track in ((0, 17000, 2), (1, 1, 1), (2, 2, 2)):
        info = bus.good(1, [0x52, kind, *struct.pack(">I", number), 0, 0, 36], room=36)
        assert info[2:4] == bytes((track, track))
    assert bus.good(1, [0x52, 1, 0, 0, 0, 1, 0, 0, 36], room=36)[24:28] == struct.pack(">I", 3600)
    assert bus.fails(1, [0x52, 1, 0, 0, 0, 3, 0, 0, 36], room=36) == (5, 0x24, 0)
    assert bus.good(1, ten(0x28, 15016, 1), room=2048) == disc.sector(15016)


def multiply(a, b):
    product = 0
    while b:
        if b & 1:
            product ^= a
        a, b = a << 1 ^ (0x11D if a & 0x80 else 0), b >> 1
    return product


def test_whole_sector_satisfies_the_code_equations(bus, disc):
    data = bus.good(1, [0xBE, 8, 0, 0, 0, 75, 0, 0, 1, 0xF8], room=2352)
    assert data == raw_sector(75, disc.sector(75)) and len(data) == 2352
    assert data[:16] == b"\0" + b"\xff" * 10 + b"\0" + bytes((0, 3, 0, 1)) and data[16:2064] == disc.sector(75)
    words = data[12:]
    for vector in range(86):  # P: every second byte of a column, 26 of them; both syndromes are zero
        column = [words[(vector >> 1) * 2 + (vector & 1) + 86 * n] for n in range(26)]
        weighted = 0
        for value in column:
            weighted = multiply(weighted, 2) ^ value
        plain = 0
        for value in column:
            plain ^= value
        assert plain == 0 and weighted == 0, vector
    assert bus.good(1, [0xBE, 0, 0, 0, 0, 75, 0, 0, 1, 0x10], room=2048) == disc.sector(75)
    assert bus.good(1, [0xBE, 0, 0, 0, 0, 75, 0, 0, 1, 0x20], room=16) == bytes((0, 3, 0, 1))
    assert bus.good(1, [0xB9, 0, 0, 0, 3, 0, 0, 3, 1, 0x10], room=2048) == disc.sector(75)
    assert bus.fails(1, [0xBE, 4, 0, 0, 0, 75, 0, 0, 1, 0xF8], room=2352) == (5, 0x24, 0)  # audio


def test_state(memory, bus, disk, disc):
    bus.good(1, [0x1E, 0, 0, 0, 1])
    state = bus.driver.function.save()
    other = Bus(memory, disk, disc)
    other.driver.function.load(state)
    assert other.cdrom.locked and other.cdrom.attention is None


@pytest.mark.parametrize("seed", range(4))
def test_random_commands_break_nothing(memory, disk, disc, seed):
    dice = random.Random(seed)
    bus = Bus(memory, disk, disc).ready()
    codes = sorted({*ScsiDisk.COMMANDS, *ScsiCdrom.COMMANDS})
    for _ in range(1500):
        cdb = bytes((dice.choice(codes) if dice.random() < 0.95 else dice.getrandbits(8),))
        cdb += bytes(dice.choice((0, 0, 0, 1, 2, dice.getrandbits(8))) for _ in range(15))
        out = dice.choice((b"", b"", dice.randbytes(dice.choice((4, 24, 512, 2048)))))
        response, status, sense, _, _ = bus.run(
            dice.randrange(3), cdb, out, 0 if out else dice.choice((0, 4, 36, 512, 4096)), lun=dice.choice((0, 0, 0, 5))
        )
        assert response in (0, 1, 3) and (status == 2) == bool(sense)
        if dice.random() < 0.05:
            bus.cdrom.insert(disc) if bus.cdrom.backend is None else bus.cdrom.eject(force=True)
    bus.driver.function.load(bus.driver.function.save())
