"""Floppy drives behind the 82077AA and channel 2 of the 8237A, as a driver programs them; no guest."""

import random

import pytest
from ide_fixtures import MemoryImage

from x86emu.devices.floppy_drive import FORMATS, KIND_1200K, FloppyDrive, format_of, kind_for
from x86emu.devices.i8237 import I8237Pair
from x86emu.devices.i82077aa import I82077AA

BUFFER = 0x4000
BY_NAME = {format.name: format for format in FORMATS}
TO_MEMORY, FROM_MEMORY, VERIFY = 0x46, 0x4A, 0x42


class Floppy:
    """A controller with drives, out of reset, and the registers by name."""

    def __init__(self, irq, clock, memory, *drives):
        self.irq, self.clock, self.memory = irq, clock, memory
        self.dma = I8237Pair(memory)
        self.dma.write_second(0x0F << 1, 1, 0)  # all masks of the second controller, the cascade's too
        self.fdc = I82077AA(irq, clock, self.dma, drives)
        self.fdc.write(2, 1, 0x3C)  # out of reset, DMA gate, motors of both drives
        clock.advance(1_000_000)
        for _ in range(4):
            self.command(0x08)
        self.command(0x03, 0xAF, 0x02)

    def prepare(self, mode, length, at=BUFFER):
        for port, value in (
            (0x0C, 0), (0x04, at & 0xFF), (0x04, at >> 8 & 0xFF), (0x05, length - 1 & 0xFF), (0x05, length - 1 >> 8),
            (0x0B, mode), (0x0A, 2),
        ):  # fmt: skip
            self.dma.write_first(port, 1, value)
        self.dma.write_page(1, 1, at >> 16)

    def command(self, *values):
        for value in values:
            assert self.fdc.read(4, 1) & 0xC0 == 0x80
            self.fdc.write(5, 1, value)
        return self.results()

    def run(self, *values):
        """A command with an execution phase: its results when it has interrupted."""
        assert self.command(*values) == [] and self.fdc.read(4, 1) == 0x10
        self.clock.advance(1_000_000)
        assert self.irq.level
        return self.results()

    def results(self):
        got = []
        while self.fdc.read(4, 1) & 0xC0 == 0xC0:
            got.append(self.fdc.read(5, 1))
        return got

    def seek(self, cylinder, drive=0, head=0):
        self.command(0x0F, head << 2 | drive, cylinder)
        self.clock.advance(300_000_000)
        return self.command(0x08)

    def rate(self, rate):
        self.fdc.write_ccr(0, 1, rate)


@pytest.fixture
def image():
    return MemoryImage(2880)


@pytest.fixture
def floppy(irq, clock, memory, image):
    floppy = Floppy(irq, clock, memory, FloppyDrive(image))
    floppy.rate(0)
    return floppy


@pytest.mark.parametrize("format", FORMATS, ids=lambda format: format.name)
def test_first_and_last_sector_of_every_format(format, irq, clock, memory):
    image = MemoryImage(format.total)
    floppy = Floppy(irq, clock, memory, FloppyDrive(image))
    rate, spacing = floppy.fdc.drives[0].kind.formats[format.name]
    floppy.rate(rate)
    cylinder, head, sector = format.cylinders - 1, format.heads - 1, format.sectors
    for at, place in ((0, (0, 0, 1)), (format.total - 1, (cylinder, head, sector))):
        assert floppy.seek(place[0] * spacing) == [0x20, place[0] * spacing]
        floppy.prepare(TO_MEMORY, 512)
        result = floppy.run(0x46, place[1] << 2, *place, 2, sector, 0x1B, 0xFF)
        assert result[:3] == [place[1] << 2, 0, 0]
        assert memory.read(BUFFER, 512) == image.sector(at)


def test_kinds_of_drives():
    assert format_of(2880) == BY_NAME["1.44M"] and format_of(2532).name == "1.44M" and format_of(5761) is None
    kinds = {name: kind_for(format).cmos_type for name, format in BY_NAME.items()}
    assert [kinds[name] for name in ("160K", "360K", "720K", "1.2M", "1.44M", "2.88M")] == [1, 1, 4, 2, 4, 5]
    with pytest.raises(ValueError, match='1.44M disk does not go into a 1.2M 5.25" drive'):
        FloppyDrive(MemoryImage(2880), kind=KIND_1200K)
    with pytest.raises(ValueError, match="6000 sectors are no floppy disk"):
        FloppyDrive(MemoryImage(6000))


def test_360k_disk_in_a_1200k_drive_is_on_every_other_track(irq, clock, memory):
    image = MemoryImage(720)
    floppy = Floppy(irq, clock, memory, FloppyDrive(image, kind=KIND_1200K))
    floppy.rate(1)
    floppy.seek(10)
    floppy.prepare(TO_MEMORY, 512)
    assert floppy.run(0x46, 0, 5, 0, 1, 2, 9, 0x2A, 0xFF)[:3] == [0, 0, 0]
    assert memory.read(BUFFER, 512) == image.sector(5 * 18)
    floppy.seek(11)
    assert floppy.run(0x4A, 0)[:3] == [0x40, 1, 0]


def test_multi_track_read_goes_on_with_head_1_until_terminal_count(floppy, memory, image):
    floppy.seek(3)
    floppy.prepare(TO_MEMORY, 3 * 512)
    assert floppy.run(0xE6, 0, 3, 0, 17, 2, 18, 0x1B, 0xFF) == [4, 0, 0, 3, 1, 2, 2]
    first = 3 * 36 + 16
    assert memory.read(BUFFER, 3 * 512) == image.read(first, 3)


@pytest.mark.parametrize(
    ("parameters", "length", "after"),
    [  # data sheet table 5-5: where the transfer ended, with and without MT
        ((0x46, 0, 3, 0, 2), 512, [3, 0, 3, 2]),
        ((0x46, 0, 3, 0, 18), 512, [4, 0, 1, 2]),
        ((0xC6, 0, 3, 0, 18), 512, [3, 1, 1, 2]),
        ((0xC6, 4, 3, 1, 18), 512, [4, 0, 1, 2]),
    ],
)
def test_address_in_the_result_phase(floppy, parameters, length, after):
    floppy.seek(3)
    floppy.prepare(TO_MEMORY, length)
    assert floppy.run(*parameters, 2, 18, 0x1B, 0xFF)[3:] == after


def test_end_of_cylinder_without_terminal_count(floppy):
    floppy.seek(0)
    floppy.prepare(TO_MEMORY, 0x8000)
    assert floppy.run(0x46, 0, 0, 0, 18, 2, 18, 0x1B, 0xFF) == [0x40, 0x80, 0, 1, 0, 1, 2]


def test_write_and_write_protect(floppy, memory, image):
    memory.write(BUFFER, b"\xa5" * 700)
    floppy.prepare(FROM_MEMORY, 700)
    assert floppy.run(0x45, 0, 0, 0, 1, 2, 18, 0x1B, 0xFF) == [0, 0, 0, 0, 0, 3, 2]
    assert image.sector(0) == b"\xa5" * 512
    assert image.sector(1) == (b"\xa5" * 188).ljust(512, b"\0")  # filled up behind terminal count
    assert floppy.command(0x04, 0) == [0x38]
    image.read_only = True
    assert floppy.command(0x04, 0) == [0x78]
    floppy.prepare(FROM_MEMORY, 512)
    assert floppy.run(0x45, 0, 0, 0, 1, 2, 18, 0x1B, 0xFF)[:3] == [0x40, 0x02, 0]
    assert floppy.run(0x4D, 0, 2, 18, 0x54, 0xF6)[:3] == [0x40, 0x02, 0]


def test_format_track(floppy, memory, image):
    floppy.seek(7)
    memory.write(BUFFER, b"".join(bytes((7, 1, sector, 2)) for sector in range(1, 19)))
    floppy.prepare(FROM_MEMORY, 72)
    assert floppy.run(0x4D, 4, 2, 18, 0x54, 0xF6)[:3] == [4, 0, 0]
    assert image.read(7 * 36 + 18, 18) == b"\xf6" * 18 * 512
    floppy.prepare(FROM_MEMORY, 36)  # nine sectors are not what a 1.44M disk has
    assert floppy.run(0x4D, 4, 2, 9, 0x54, 0xF6)[:2] == [0x54, 0]


def test_deleted_data_marks(floppy, memory, image):
    memory.write(BUFFER, b"\x11" * 512)
    floppy.prepare(FROM_MEMORY, 512)
    assert floppy.run(0x49, 0, 0, 0, 2, 2, 18, 0x1B, 0xFF)[:3] == [0, 0, 0]
    floppy.prepare(TO_MEMORY, 3 * 512)  # READ DATA stops behind the deleted sector and says so
    assert floppy.run(0x46, 0, 0, 0, 1, 2, 18, 0x1B, 0xFF) == [0, 0, 0x40, 0, 0, 3, 2]
    floppy.prepare(TO_MEMORY, 2 * 512)  # SK steps over it
    assert floppy.run(0x66, 0, 0, 0, 1, 2, 18, 0x1B, 0xFF) == [0, 0, 0x40, 0, 0, 4, 2]
    assert memory.read(BUFFER, 1024) == image.sector(0) + image.sector(2)
    floppy.prepare(TO_MEMORY, 512)
    assert floppy.run(0x4C, 0, 0, 0, 2, 2, 18, 0x1B, 0xFF)[:3] == [0, 0, 0]


def test_nothing_is_found(floppy):
    floppy.prepare(TO_MEMORY, 512)
    floppy.seek(5)
    assert floppy.run(0x46, 0, 4, 0, 1, 2, 18, 0x1B, 0xFF)[:3] == [0x40, 0x04, 0x10]  # another cylinder's IDs
    assert floppy.run(0x46, 0, 5, 0, 19, 2, 20, 0x1B, 0xFF)[:3] == [0x40, 0x04, 0]
    assert floppy.run(0x46, 0, 5, 0, 1, 3, 18, 0x1B, 0xFF)[:3] == [0x40, 0x04, 0]
    assert floppy.run(0x06, 0, 5, 0, 1, 2, 18, 0x1B, 0xFF)[:3] == [0x40, 0x01, 0]  # single density
    floppy.rate(2)
    assert floppy.run(0x46, 0, 5, 0, 1, 2, 18, 0x1B, 0xFF)[:3] == [0x40, 0x01, 0]


def test_read_id_follows_the_turning_disk(floppy, clock):
    floppy.seek(2)
    seen = set()
    for _ in range(100):
        result = floppy.run(0x4A, 4)
        assert result[:5] == [4, 0, 0, 2, 1] and result[6] == 2
        seen.add(result[5])
        clock.advance(7_100_000)
    assert seen == set(range(1, 19))


def test_verify_and_read_track(floppy, memory, image):
    assert floppy.run(0x56, 0x80, 0, 0, 3, 2, 18, 0x1B, 4) == [0, 0, 0, 0, 0, 7, 2]
    image.broken.add(4)
    assert floppy.run(0x56, 0x80, 0, 0, 3, 2, 18, 0x1B, 4)[:3] == [0x40, 0x20, 0x20]
    image.broken.clear()
    floppy.prepare(TO_MEMORY, 18 * 512)
    assert floppy.run(0x42, 0, 0, 0, 5, 2, 18, 0x1B, 0xFF)[:3] == [0, 0, 0]
    assert memory.read(BUFFER, 18 * 512) == image.read(0, 18)


@pytest.mark.parametrize(
    ("code", "change", "st2"),
    [
        (0x11, 0, 0x08), (0x11, 1, 0x04), (0x11, -1, 0x04),
        (0x19, 0, 0x08), (0x19, 1, 0x00), (0x19, -1, 0x04),
        (0x1D, 0, 0x08), (0x1D, 1, 0x04), (0x1D, -1, 0x00),
    ],
)  # fmt: skip
def test_scan(floppy, memory, image, code, change, st2):
    image.written[0] = b"\x40" * 512
    memory.write(BUFFER, bytes([0x40 + change]) * 511 + b"\xff")
    floppy.prepare(FROM_MEMORY, 512)
    assert floppy.run(0x40 | code, 0, 0, 0, 1, 2, 18, 0x1B, 1)[:3] == [0, 0, st2]


def test_disk_change_line_falls_with_a_step(floppy, image):
    fdc, drive = floppy.fdc, floppy.fdc.drives[0]
    assert fdc.read_dir(0, 1) == 0xFF
    floppy.seek(1)
    assert fdc.read_dir(0, 1) == 0x7F
    drive.eject()
    floppy.seek(2)
    assert fdc.read_dir(0, 1) == 0xFF  # no medium: a step does not help
    assert floppy.run(0x4A, 0)[:3] == [0x40, 0x01, 0]
    drive.insert(MemoryImage(1440))
    assert fdc.read_dir(0, 1) == 0xFF
    floppy.seek(1)
    assert fdc.read_dir(0, 1) == 0x7F
    fdc.write(2, 1, 0x0C)  # motor off
    assert fdc.read_dir(0, 1) == 0x7F


def test_recalibrate_and_implied_seek(floppy, memory, image):
    floppy.seek(40)
    floppy.command(0x07, 0)
    floppy.clock.advance(300_000_000)
    assert floppy.command(0x08) == [0x20, 0]
    assert floppy.command(0x04, 0) == [0x38]
    floppy.command(0x13, 0x00, 0x57, 0x00)
    floppy.prepare(TO_MEMORY, 512)
    assert floppy.run(0x46, 0, 9, 0, 1, 2, 18, 0x1B, 0xFF)[0] == 0
    assert memory.read(BUFFER, 512) == image.sector(9 * 36)


def test_without_dma_by_the_fifo(floppy, image, irq):
    floppy.command(0x03, 0xAF, 0x03)
    assert floppy.command(0x46, 0, 0, 0, 18, 2, 18, 0x1B, 0xFF) == []
    floppy.clock.advance(1_000_000)
    assert irq.level and floppy.fdc.read(4, 1) == 0xF0
    data = bytes(floppy.fdc.read(5, 1) for _ in range(512))
    assert data == image.sector(17) and irq.level
    assert floppy.results() == [0x40, 0x80, 0, 1, 0, 1, 2] and not irq.level
    floppy.command(0x45, 0, 0, 0, 18, 2, 18, 0x1B, 0xFF)
    floppy.clock.advance(1_000_000)
    for _ in range(512):
        assert floppy.fdc.read(4, 1) == 0xB0
        floppy.fdc.write(5, 1, 0x77)
    assert floppy.results()[0] == 0x40 and image.sector(17) == b"\x77" * 512


def test_masked_channel_overruns(floppy):
    floppy.prepare(TO_MEMORY, 512)
    floppy.dma.write_first(0x0A, 1, 6)
    assert floppy.run(0x46, 0, 0, 0, 1, 2, 18, 0x1B, 0xFF)[:3] == [0x40, 0x10, 0]


def test_second_drive_and_state_during_a_transfer(irq, clock, memory):
    images = MemoryImage(2880), MemoryImage(2400)
    floppy = Floppy(irq, clock, memory, FloppyDrive(images[0]), FloppyDrive(images[1]))
    floppy.rate(0)
    floppy.seek(20, drive=1)
    floppy.prepare(TO_MEMORY, 512)
    floppy.command(0x46, 1, 20, 0, 15, 2, 15, 0x1B, 0xFF)
    state = floppy.fdc.save()
    other = Floppy(irq, clock, memory, FloppyDrive(images[0]), FloppyDrive(images[1]))
    other.fdc.load(state)
    other.prepare(TO_MEMORY, 512)
    clock.advance(1_000_000)
    assert other.results() == [1, 0, 0, 21, 0, 1, 2]
    assert memory.read(BUFFER, 512) == images[1].sector(20 * 30 + 14)


def test_image_that_is_cut_off_reads_as_zeros_behind_its_end(irq, clock, memory):
    image = MemoryImage(2532)
    floppy = Floppy(irq, clock, memory, FloppyDrive(image))
    floppy.rate(0)
    floppy.seek(79)
    floppy.prepare(TO_MEMORY, 512)
    assert floppy.run(0x46, 0, 79, 0, 1, 2, 18, 0x1B, 0xFF)[0] == 0
    assert memory.read(BUFFER, 512) == bytes(512)


@pytest.mark.parametrize("seed", range(4))
def test_random_driver_breaks_nothing(irq, clock, memory, seed):
    dice = random.Random(seed)
    floppy = Floppy(irq, clock, memory, FloppyDrive(MemoryImage(2880)), FloppyDrive())
    for _ in range(3000):
        kind = dice.randrange(8)
        if kind < 4:
            codes = (0x46, 0x45, 0x4D, 0x4A, 0x51, 0x56, 0x42, 0x07, 0x0F, 0x08, 0x03, dice.getrandbits(8))
            floppy.fdc.write(5, 1, dice.choice((0, 1, 2, 18, dice.getrandbits(8), *codes)))
        elif kind == 4:
            floppy.fdc.write(dice.randrange(6), 1, dice.choice((0x1C, 0x3C, dice.getrandbits(8))))
        elif kind == 5:
            floppy.prepare(dice.choice((TO_MEMORY, FROM_MEMORY, VERIFY)), dice.choice((512, 4096, 65536)))
        elif kind == 6:
            clock.advance(dice.choice((1_000, 1_000_000, 300_000_000)))
        else:
            assert 0 <= floppy.fdc.read(dice.randrange(6), 1) <= 0xFF
    floppy.fdc.load(floppy.fdc.save())
