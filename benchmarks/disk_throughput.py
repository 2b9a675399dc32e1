"""Reads through the disk models' registers from the host's page cache: how many MB/s a device gives at best.

    python benchmarks/disk_throughput.py [MIB]

A driver in Python programs virtio-blk (ring) and PIIX IDE (bus master, READ DMA EXT); data go from an image file into
guest memory.  What a guest sees is less by what its own driver and file system execute.
"""

from __future__ import annotations

import os
import struct
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests/devices")]

from ide_fixtures import Ide  # noqa: E402
from virtio_driver import NEXT, WRITE, Driver  # noqa: E402

from x86emu.bus.dma import MemoryDma  # noqa: E402
from x86emu.core.memory import PhysicalMemory  # noqa: E402
from x86emu.devices.ata_disk import AtaDisk  # noqa: E402
from x86emu.devices.virtio_blk import VirtioBlk  # noqa: E402
from x86emu.storage import Image, open_image  # noqa: E402
from x86emu.storage.convert import convert  # noqa: E402

RAM = 64 << 20
BUFFER, TABLE = 0x10_0000, 0x8000
REQUESTS = (4 << 10, 64 << 10, 128 << 10, 1 << 20)


class Memory(MemoryDma):
    """Guest memory that the drivers of the tests accept."""

    def __init__(self) -> None:
        memory = PhysicalMemory(RAM, 0x10000)
        memory.map(0, RAM, 0, 0)
        super().__init__(memory)
        self.bytes = range(RAM)


class NoInterrupts:
    def set_irq(self, number: int, level: bool) -> None:
        pass


def virtio(image: Image, request: int, total: int) -> float:
    """MB/s of reads of `request` bytes."""
    memory = Memory()
    driver = Driver(VirtioBlk(image), memory)
    driver.start()
    driver.describe(0, TABLE, 16, NEXT, 1)
    driver.describe(1, BUFFER, request, NEXT | WRITE, 2)
    driver.describe(2, TABLE + 16, 1, WRITE)
    begin = time.perf_counter()
    for offset in range(0, total, request):
        memory.write(TABLE, struct.pack("<IIQ", 0, 0, offset % image.size // 512))
        driver.offer(0)
        driver.notify()
    return total / 1e6 / (time.perf_counter() - begin)


def ide(image: Image, request: int, total: int) -> float:
    """MB/s of READ DMA EXT of `request` bytes."""
    device = Ide(NoInterrupts(), Memory(), AtaDisk(image))
    entries = [(BUFFER + at, min(65536, request - at)) for at in range(0, request, 65536)]
    begin = time.perf_counter()
    for offset in range(0, total, request):
        device.prd_table(TABLE, *entries)
        device.bus_master(2, 6)
        device.bus_master(0, 8)
        device.command_ext(0x25, offset % image.size // 512, request // 512)
        device.bus_master(0, 9)
        assert not device.status & 1
        device.bus_master(0, 0)
    return total / 1e6 / (time.perf_counter() - begin)


def main() -> None:
    size = (int(sys.argv[1]) if len(sys.argv) > 1 else 128) << 20
    with tempfile.TemporaryDirectory() as directory:
        raw, qcow2 = Path(directory, "disk.raw"), Path(directory, "disk.qcow2")
        with raw.open("wb") as file:
            for _ in range(size >> 20):
                file.write(os.urandom(1 << 20))
        convert(raw, qcow2, target_format="qcow2")
        print(f"{'MB/s of reads':24}" + "".join(f"{request >> 10:>8} KiB" for request in REQUESTS))
        for path in (raw, qcow2):
            image = open_image(path, read_only=True)
            for name, read in (("virtio-blk", virtio), ("IDE DMA", ide)):
                rates = [read(image, request, min(size, 2000 * request)) for request in REQUESTS]
                print(f"{name + ', ' + image.format:24}" + "".join(f"{rate:12.0f}" for rate in rates))
            image.close()


if __name__ == "__main__":
    main()
