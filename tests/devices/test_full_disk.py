"""A host disk that is full while the guest writes: every controller says so as its standard has it, and what was there
before can still be read."""

import contextlib
import resource
import struct

import pytest
from ide_fixtures import Ide
from test_ahci import DATA, LIST, PXCMD, PXIS, PXTFD, Adapter, frame
from test_nvme import Driver as NvmeDriver
from test_virtio_scsi import Bus, ten
from virtio_driver import Driver

from x86emu.devices.ata_disk import AtaDisk
from x86emu.devices.virtio_blk import VirtioBlk
from x86emu.storage import create_image, open_image

GROWTH = 256 << 10


@contextlib.contextmanager
def no_room(path):
    """The file may not grow further."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "disk.qcow2"
    create_image(path, 8 << 20)
    return path


@pytest.fixture
def image(path):
    image = open_image(path)
    image.write(0, b"\x11" * 65536)
    image.flush()
    yield image
    image.close()


def intact(path, image):
    image.flush()
    assert image.read(0, 128) == b"\x11" * 65536
    image.write(8192, b"\x22" * 512)  # there is room again
    assert image.read(8192, 1) == b"\x22" * 512


def test_ide(path, image, edges, memory):
    ide = Ide(edges, memory, AtaDisk(image))
    with no_room(path):
        ide.prd_table(0x4000, (0x8000, 4096))
        ide.command_ext(0x35, 8192, 8)
        ide.bus_master(0, 1)
        assert ide.status == 0x71 and ide.irq is False  # device fault, error
        ide.bus_master(0, 0)
        ide.command(0x30, lba=8192, count=1)
        ide.put_words(bytes(512))
        assert ide.status == 0x71
    intact(path, image)


def test_ahci(path, image, memory):
    adapter = Adapter(memory, AtaDisk(image, serial_ata=True)).start()
    with no_room(path):
        assert adapter.run(frame(0x35, 8192, 8), [(DATA, 4096)], flags=0x40) == 0x71
        assert adapter.pget(PXIS) & 0x4000_0000
        adapter.pput(PXCMD, 0x10)
        adapter.start()
    assert adapter.run(frame(0x35, 8192, 8), [(DATA, 4096)], flags=0x40) == 0x50
    assert adapter.pget(PXTFD) == 0x50 and memory.read(LIST + 4, 4) == (4096).to_bytes(4, "little")
    intact(path, image)


def test_virtio_blk(path, image, memory):
    driver = Driver(VirtioBlk(image), memory)
    driver.start()
    with no_room(path):
        assert driver.request([struct.pack("<IIQ", 1, 0, 8192) + bytes(4096)], [1]) == (1, b"\1")
    assert driver.request([struct.pack("<IIQ", 1, 0, 8192) + bytes(4096)], [1]) == (1, b"\0")
    intact(path, image)


def test_virtio_scsi(path, image, memory):
    bus = Bus(memory, image, None).ready()
    with no_room(path):
        assert bus.fails(0, ten(0x2A, 8192, 8), out=bytes(4096)) == (3, 0x0C, 0)
    assert bus.good(0, ten(0x2A, 8192, 8), out=bytes(4096)) == 0
    intact(path, image)


def test_nvme(path, image, memory):
    driver = NvmeDriver(image, memory)
    driver.start()
    with no_room(path):
        assert driver.io(1, 8192, 8, prp1=0x20000) & 0x7FF == 0x280  # write fault
    intact(path, image)
