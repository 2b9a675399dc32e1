"""Reads through the disk models' registers from the host's page cache: how many MB/s a device gives at best.

    python benchmarks/disk_throughput.py [MIB]

A driver in Python programs virtio-blk (ring), PIIX IDE (bus master, READ DMA EXT), AHCI (READ FPDMA QUEUED) and NVMe;
data go from an image file into guest memory.  What a guest sees is less by what its own driver and file system
execute.  Ends with 1 where a device does not reach TARGETS from a raw image with some size of request.
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
from test_ahci import IS, PXCI, PXIS, PXSACT, Adapter  # noqa: E402
from test_ahci import frame as ahci_frame  # noqa: E402
from test_nvme import Driver as NvmeDriver  # noqa: E402
from virtio_driver import NEXT, WRITE, Driver  # noqa: E402

from x86emu.bus.dma import MemoryDma  # noqa: E402
from x86emu.core.memory import PhysicalMemory  # noqa: E402
from x86emu.devices.ata_disk import AtaDisk  # noqa: E402
from x86emu.devices.virtio_blk import VirtioBlk  # noqa: E402
from x86emu.storage import Image, open_image  # noqa: E402
from x86emu.storage.convert import convert  # noqa: E402

RAM = 64 << 20
BUFFER, TABLE = 0x10_0000, 0x8000
TARGETS = {"virtio-blk": 500, "IDE DMA": 300}  # MB/s
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


def ahci(image: Image, request: int, total: int) -> float:
    """MB/s of READ FPDMA QUEUED of `request` bytes."""
    adapter = Adapter(Memory(), AtaDisk(image, serial_ata=True)).start()
    begin = time.perf_counter()
    for offset in range(0, total, request):
        lba = offset % image.size // 512
        adapter.prepare(0, ahci_frame(0x60, lba, 0, request // 512), [(BUFFER, request)])
        adapter.pput(PXSACT, 1)
        adapter.pput(PXCI, 1)
        assert not adapter.pget(PXSACT)
        adapter.pput(PXIS, 0xFFFF_FFFF)
        adapter.put(IS, 1)
    return total / 1e6 / (time.perf_counter() - begin)


def nvme(image: Image, request: int, total: int) -> float:
    """MB/s of NVMe reads of `request` bytes."""
    memory = Memory()
    driver = NvmeDriver(image, memory)
    driver.start()
    pages = [BUFFER + at for at in range(4096, request, 4096)]
    memory.write(0x30000, struct.pack(f"<{len(pages)}Q", *pages))
    second = pages[0] if len(pages) == 1 else 0x30000
    begin = time.perf_counter()
    for offset in range(0, total, request):
        assert not driver.io(2, offset % image.size // 512, request // 512, prp1=BUFFER, prp2=second)
    return total / 1e6 / (time.perf_counter() - begin)


def main() -> int:
    missed: list[str] = []
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
            for name, read in (("virtio-blk", virtio), ("IDE DMA", ide), ("AHCI", ahci), ("NVMe", nvme)):
                rates = [read(image, request, min(size, 2000 * request)) for request in REQUESTS]
                print(f"{name + ', ' + image.format:24}" + "".join(f"{rate:12.0f}" for rate in rates))
                if image.format == "raw" and max(rates) < TARGETS.get(name, 0):
                    missed.append(f"{name} reads {max(rates):.0f} MB/s at most; {TARGETS[name]} are wanted")
            image.close()
    print("\n".join(missed))
    return bool(missed)


if __name__ == "__main__":
    sys.exit(main())
