"""The firmware configuration device of QEMU's PC: ports 510h-511h and, for DMA, 514h-51Bh.

Written from QEMU's public specification docs/specs/fw_cfg ("QEMU Firmware Configuration (fw_cfg) Device") and from
what SeaBIOS reads.  Departure: the data port 511h ignores writes, as QEMU's has done since version 2.4; a writable
item is written by DMA only.

    port     width   meaning
    510h     16      selector, write-only: key of the item, restarts it at offset 0
    511h     8       data: the item's next byte, 0 beyond its end
    514h     32      DMA address bits 63:32, big-endian; reads "QEMU"
    518h     32      DMA address bits 31:0, big-endian, starts the transfer; reads " CFG"
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

from x86emu.bus.device import Device
from x86emu.bus.dma import Dma

KEY_SIGNATURE = 0x00
KEY_ID = 0x01
KEY_UUID = 0x02
KEY_RAM_SIZE = 0x03
KEY_NOGRAPHIC = 0x04
KEY_NB_CPUS = 0x05
KEY_MACHINE_ID = 0x06
KEY_KERNEL_ADDR = 0x07
KEY_KERNEL_SIZE = 0x08
KEY_KERNEL_CMDLINE = 0x09
KEY_INITRD_ADDR = 0x0A
KEY_INITRD_SIZE = 0x0B
KEY_BOOT_DEVICE = 0x0C
KEY_NUMA = 0x0D
KEY_BOOT_MENU = 0x0E
KEY_MAX_CPUS = 0x0F
KEY_KERNEL_ENTRY = 0x10
KEY_KERNEL_DATA = 0x11
KEY_INITRD_DATA = 0x12
KEY_CMDLINE_ADDR = 0x13
KEY_CMDLINE_SIZE = 0x14
KEY_CMDLINE_DATA = 0x15
KEY_SETUP_ADDR = 0x16
KEY_SETUP_SIZE = 0x17
KEY_SETUP_DATA = 0x18
KEY_FILE_DIR = 0x19
KEY_FILE_FIRST = 0x20
KEY_ACPI_TABLES = 0x8000
KEY_SMBIOS_ENTRIES = 0x8001
KEY_IRQ0_OVERRIDE = 0x8002

SELECTOR_WRITE_CHANNEL = 0x4000  # reserved bit of the selector, ignored since data-port writes are gone
SIGNATURE = b"QEMU"
ID_TRADITIONAL = 1 << 0
ID_DMA = 1 << 1
DMA_SIGNATURE = b"QEMU CFG"
DMA_ERROR = 1 << 0
DMA_READ = 1 << 1
DMA_SKIP = 1 << 2
DMA_SELECT = 1 << 3
DMA_WRITE = 1 << 4
DMA_DESCRIPTOR = struct.Struct(">IIQ")  # control, length, address
FILE_NAME_BYTES = 56
CHUNK = 1 << 20  # a transfer is moved in pieces, so that a nonsense length costs no host memory


class FwCfg(Device):
    """Items under 16-bit keys, some of which are files listed by name in a directory.

    ``dma`` reaches guest memory for transfers started at port 518h.  Add every item and file before the guest runs:
    the directory is laid out, in order of the names, when the first access needs it.
    """

    STATE = ("key", "offset", "dma_address")

    def __init__(self, dma: Dma) -> None:
        super().__init__("fw_cfg")
        self.dma = dma
        self._items: dict[int, bytes | bytearray] = {}
        self._files: dict[str, bytes | bytearray] = {}
        self._on_write: dict[str, Callable[[bytes], None]] = {}
        self._file_keys: dict[int, str] | None = None
        self.key = 0
        self.offset = 0
        self.dma_address = 0
        self.add_item(KEY_SIGNATURE, SIGNATURE)
        self.add_item(KEY_ID, struct.pack("<I", ID_TRADITIONAL | ID_DMA))

    # What the machine puts in.

    def add_item(self, key: int, data: bytes) -> None:
        """Defines the item under ``key``; a second definition of a key is a ValueError."""
        if key in self._items:
            raise ValueError(f"fw_cfg already has an item under key {key:04X}h")
        self._items[key] = data

    def add_integer(self, key: int, value: int, size: int = 2) -> None:
        """Defines a little-endian integer item of ``size`` bytes."""
        self.add_item(key, value.to_bytes(size, "little"))

    def add_file(
        self, name: str, data: bytes, *, writable: bool = False, on_write: Callable[[bytes], None] | None = None
    ) -> None:
        """Defines a named file.  A writable one is changed by DMA writes, after which ``on_write`` gets its bytes."""
        if len(name.encode("ascii")) >= FILE_NAME_BYTES:
            raise ValueError(f"fw_cfg file name {name!r} is longer than {FILE_NAME_BYTES - 1} characters")
        if name in self._files:
            raise ValueError(f"fw_cfg already has a file named {name!r}")
        self._files[name] = bytearray(data) if writable else data
        if on_write is not None:
            self._on_write[name] = on_write
        self._file_keys = None

    def file(self, name: str) -> bytes:
        """The present bytes of the file ``name`` (KeyError if there is none)."""
        return bytes(self._files[name])

    @property
    def files(self) -> list[str]:
        """Names of all files, in the order of the directory."""
        return sorted(self._files)

    def key_of(self, name: str) -> int:
        """The selector of the file ``name``."""
        return KEY_FILE_FIRST + self.files.index(name)

    def _lay_out(self) -> dict[int, str]:
        if self._file_keys is None:
            self._file_keys = {KEY_FILE_FIRST + index: name for index, name in enumerate(self.files)}
            directory = struct.pack(">I", len(self._file_keys))
            for key, name in self._file_keys.items():
                directory += struct.pack(">IHH56s", len(self._files[name]), key, 0, name.encode("ascii"))
            self._items[KEY_FILE_DIR] = directory
        return self._file_keys

    def _selected(self) -> bytes | bytearray:
        keys = self._lay_out()
        if self.key in keys:
            return self._files[keys[self.key]]
        return self._items.get(self.key, b"")

    # What the guest does.

    def select(self, key: int) -> None:
        """Chooses an item and restarts it at its first byte; an undefined key reads as zeros."""
        self.key = key & ~SELECTOR_WRITE_CHANNEL
        self.offset = 0

    def read(self, offset: int, size: int) -> int:
        """Ports 510h-511h: a byte read at either gives the item's next byte; wider reads are not decoded."""
        if size != 1:
            return (1 << (8 * size)) - 1
        item = self._selected()
        if self.offset >= len(item):
            return 0
        self.offset += 1
        return item[self.offset - 1]

    def write(self, offset: int, size: int, value: int) -> None:
        """Ports 510h-511h: a 16-bit write at 510h selects; every other write has no effect."""
        if offset == 0 and size == 2:
            self.select(value)

    def read_block(self, offset: int, size: int, count: int) -> bytes:
        """REP INS from the data port: ``count`` elements of ``size`` bytes."""
        if size != 1:
            return b"\xff" * (size * count)
        item = self._selected()
        data = bytes(item[self.offset : self.offset + count])
        self.offset += len(data)
        return data + bytes(count - len(data))

    def dma_read(self, offset: int, size: int) -> int:
        """Ports 514h-51Bh read as the signature "QEMU CFG", at any width."""
        return int.from_bytes(DMA_SIGNATURE[offset : offset + size], "little")

    def dma_write(self, offset: int, size: int, value: int) -> None:
        """Ports 514h and 518h: the descriptor's address, big-endian; only 32-bit writes are decoded."""
        if size != 4:
            return
        half = int.from_bytes(value.to_bytes(4, "little"), "big")
        if offset == 0:
            self.dma_address = half << 32
        elif offset == 4:
            address = self.dma_address | half
            self.dma_address = 0
            self._transfer(address)

    def _transfer(self, descriptor: int) -> None:
        control, length, address = DMA_DESCRIPTOR.unpack(self.dma.read(descriptor, DMA_DESCRIPTOR.size))
        if control & DMA_SELECT:
            self.select(control >> 16)
        error = False
        if control & DMA_READ:
            self._read_to_memory(address, length)
        elif control & DMA_WRITE:
            error = not self._write_from_memory(address, length)
        elif control & DMA_SKIP:
            self.offset = min(self.offset + length, len(self._selected()))
        self.dma.write(descriptor, struct.pack(">I", DMA_ERROR if error else 0))

    def _read_to_memory(self, address: int, length: int) -> None:
        item = self._selected()
        while length:
            piece = min(length, CHUNK)
            data = bytes(item[self.offset : self.offset + piece])
            self.offset += len(data)
            self.dma.write(address, data + bytes(piece - len(data)))
            address = (address + piece) & 0xFFFF_FFFF_FFFF_FFFF
            length -= piece

    def _write_from_memory(self, address: int, length: int) -> bool:
        item = self._selected()
        if not isinstance(item, bytearray) or self.offset + length > len(item):
            return False
        item[self.offset : self.offset + length] = self.dma.read(address, length)
        self.offset += length
        name = self._lay_out()[self.key]
        if name in self._on_write:
            self._on_write[name](bytes(item))
        return True

    # Device.

    def reset(self) -> None:
        self.select(0)
        self.dma_address = 0

    def save(self) -> dict[str, object]:
        writable = {name: bytes(data) for name, data in self._files.items() if isinstance(data, bytearray)}
        return {**super().save(), "writable": writable}

    def load(self, state: dict[str, Any]) -> None:
        super().load(state)
        for name, data in state["writable"].items():
            self._files[name] = bytearray(data)
