"""SCSI direct-access block device (SBC-3, T10/1799-D, chapters 5 and 6.4 to 6.5): a disk of sectors of 512 bytes.

With UNMAP and WRITE SAME down to the image.  Left out: protection information, reservations, XOR commands, FORMAT UNIT
with parameters, defects.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import ClassVar, cast

from x86emu.devices.block import BlockBackend, DiscardBackend
from x86emu.devices.scsi import (
    ADDRESS_OUT_OF_RANGE,
    ALL_PAGES,
    INVALID_FIELD,
    INVALID_PARAMETER,
    MISCOMPARE_FOUND,
    PARAMETER_LENGTH,
    READ_ERROR,
    WRITE_ERROR,
    WRITE_PROTECTED,
    Phase,
    ScsiUnit,
    field,
)

SECTOR = 512
LARGEST_UNMAP = 1 << 22  # sectors
UNMAP_RANGES = 255
LARGEST_WRITE_SAME = 1 << 22
VERIFY_BLOCK = 128

FORCE_UNIT_ACCESS = 0x08
BYTE_CHECK = 0x02
WRITE_SAME_UNMAP, WRITE_SAME_NO_DATA = 0x08, 0x01

# Group of the operation code (bits 7-5) to where address and count lie in the command descriptor block.
LAYOUT = {0: (1, 3, 4, 1), 1: (2, 4, 7, 2), 2: (2, 4, 7, 2), 4: (2, 8, 10, 4), 5: (2, 4, 6, 4)}
WRITES = frozenset((0x0A, 0x2A, 0xAA, 0x8A, 0x2E, 0x8E, 0xAE, 0x41, 0x93, 0x42, 0x04))


class ScsiDisk(ScsiUnit):
    """A disk on a back end with 512-byte sectors."""

    STATE: ClassVar[tuple[str, ...]] = (*ScsiUnit.STATE, "write_cache")

    def __init__(
        self,
        backend: BlockBackend,
        *,
        name: str = "SCSI disk",
        model: str = "X86EMU HARDDISK",
        serial: str = "X86EMUS0001",
        firmware: str = "1.0",
    ) -> None:
        super().__init__(name, model, serial, firmware)
        self._disk = backend
        self.write_cache = True

    def reset(self) -> None:
        super().reset()
        self.write_cache = True

    @property
    def backend(self) -> BlockBackend:
        return self._disk

    @property
    def thin(self) -> bool:
        """Whether sectors can be unmapped."""
        return hasattr(self._disk, "discard") and not self._disk.read_only

    def examine(self, cdb: bytes) -> None:
        if cdb[0] in WRITES and self._disk.read_only:
            raise self.check(WRITE_PROTECTED)

    def _range(self, cdb: bytes) -> tuple[int, int]:
        """First sector and count, all within the disk."""
        at, width, count_at, count_width = LAYOUT[cdb[0] >> 5]
        lba, count = field(cdb, at, width), field(cdb, count_at, count_width)
        if cdb[0] >> 5 == 0:
            lba, count = lba & 0x1F_FFFF, count or 256
        if lba + count > self._disk.sectors:
            raise self.check(ADDRESS_OUT_OF_RANGE, max(lba, self._disk.sectors))
        return lba, count

    # --- data

    def _read(self, cdb: bytes) -> Phase:
        lba, count = self._range(cdb)
        return Phase(lba=lba, count=count)

    def _write(self, cdb: bytes) -> Phase:
        _, count = self._range(cdb)
        return Phase(wanted=count * SECTOR)

    def _verify(self, cdb: bytes) -> Phase:
        lba, count = self._range(cdb)
        if cdb[1] & BYTE_CHECK:
            return Phase(wanted=count * SECTOR)
        try:
            for start in range(lba, lba + count, VERIFY_BLOCK):
                self._disk.read(start, min(VERIFY_BLOCK, lba + count - start))
        except OSError:
            raise self.check(READ_ERROR, lba) from None
        return Phase()

    def _write_same(self, cdb: bytes) -> Phase:
        lba, count = self._range(cdb)
        count = count or self._disk.sectors - lba
        if count > LARGEST_WRITE_SAME or cdb[1] & WRITE_SAME_UNMAP and not self.thin:
            raise self.check(INVALID_FIELD)
        if cdb[0] == 0x93 and cdb[1] & WRITE_SAME_NO_DATA:
            self._store_same(cdb, bytes(SECTOR))
            return Phase()
        return Phase(wanted=SECTOR)

    def _unmap(self, cdb: bytes) -> Phase:
        if not self.thin or cdb[1] & 1:
            raise self.check(INVALID_FIELD)
        return Phase(wanted=field(cdb, 7, 2))

    def finish(self, cdb: bytes, data: bytes | memoryview) -> None:
        code = cdb[0]
        try:
            if code in (0x41, 0x93):
                self._store_same(cdb, bytes(data))
            elif code == 0x42:
                self._unmap_ranges(bytes(data))
            elif code in (0x15, 0x55):
                self._select_pages(cdb, bytes(data))
            elif code in (0x2F, 0x8F, 0xAF):
                self._compare(cdb, bytes(data))
            else:
                lba, count = self._range(cdb)
                if len(data) != count * SECTOR:
                    raise self.check(PARAMETER_LENGTH)
                self._disk.write(lba, data)
                forced = code not in (0x0A, 0x2E, 0x8E, 0xAE) and cdb[1] & FORCE_UNIT_ACCESS
                if forced or not self.write_cache:
                    self._disk.flush()
        except OSError:
            raise self.check(WRITE_ERROR) from None

    def _store_same(self, cdb: bytes, sector: bytes) -> None:
        lba, count = self._range(cdb)
        count = count or self._disk.sectors - lba
        try:
            if not any(sector) and hasattr(self._disk, "write_zeroes"):
                unmap = bool(cdb[1] & WRITE_SAME_UNMAP)
                cast(DiscardBackend, self._disk).write_zeroes(lba, count, unmap=unmap)
            else:
                for start in range(lba, lba + count, VERIFY_BLOCK):
                    self._disk.write(start, sector * min(VERIFY_BLOCK, lba + count - start))
        except OSError:
            raise self.check(WRITE_ERROR) from None

    def _unmap_ranges(self, data: bytes) -> None:
        if len(data) < 8:
            if data:
                raise self.check(PARAMETER_LENGTH)
            return
        descriptors = data[8 : 8 + min(field(data, 2, 2), len(data) - 8) // 16 * 16]
        ranges = [(field(descriptors, at, 8), field(descriptors, at + 8, 4)) for at in range(0, len(descriptors), 16)]
        if len(ranges) > UNMAP_RANGES or sum(count for _, count in ranges) > LARGEST_UNMAP:
            raise self.check(INVALID_PARAMETER)
        for lba, count in ranges:
            if lba + count > self._disk.sectors:
                raise self.check(ADDRESS_OUT_OF_RANGE)
        for lba, count in ranges:
            cast(DiscardBackend, self._disk).discard(lba, count)

    def _compare(self, cdb: bytes, data: bytes) -> None:
        lba, count = self._range(cdb)
        try:
            same = self._disk.read(lba, count) == data
        except OSError:
            raise self.check(READ_ERROR, lba) from None
        if not same:
            raise self.check(MISCOMPARE_FOUND)

    def _synchronize(self, cdb: bytes) -> Phase:
        try:
            self._disk.flush()
        except OSError:
            raise self.check(WRITE_ERROR) from None
        return Phase()

    def _nothing(self, cdb: bytes) -> Phase:
        return Phase()

    def _format_unit(self, cdb: bytes) -> Phase:
        if cdb[1] & 0x10:  # parameters
            raise self.check(INVALID_FIELD)
        return Phase()

    # --- what the disk says of itself

    def _read_capacity(self, cdb: bytes) -> Phase:
        last = min(self._disk.sectors - 1, 0xFFFF_FFFF)
        return Phase(last.to_bytes(4, "big") + SECTOR.to_bytes(4, "big"))

    def _service_action_in(self, cdb: bytes) -> Phase:
        """READ CAPACITY(16) is the only one."""
        if cdb[1] & 0x1F != 0x10:
            raise self.check(INVALID_FIELD)
        thin = bytes((0, 0, 0x80 if self.thin else 0, 0))
        answer = (self._disk.sectors - 1).to_bytes(8, "big") + SECTOR.to_bytes(4, "big") + thin + bytes(16)
        return Phase(answer[: field(cdb, 10, 4)])

    def vital_product_data(self, page: int) -> bytes | None:
        """SBC-3, 6.5: block limits, characteristics (no rotation), provisioning."""
        if page == 0x00:
            return bytes((0x00, 0x80, 0x83, 0xB0, 0xB1, 0xB2))
        if page == 0xB0:
            block = bytearray(60)
            if self.thin:
                block[16:20] = LARGEST_UNMAP.to_bytes(4, "big")
                block[20:24] = UNMAP_RANGES.to_bytes(4, "big")
            block[32:40] = LARGEST_WRITE_SAME.to_bytes(8, "big")
            return bytes(block)
        if page == 0xB1:
            return (1).to_bytes(2, "big") + bytes(58)
        if page == 0xB2:
            return bytes((0, 0xE0 if self.thin else 0, 0x02 if self.thin else 0, 0))
        return super().vital_product_data(page)

    def mode_pages(self, page: int) -> bytes | None:
        """Error recovery, caching (WCE), control."""
        pages = {
            0x01: bytes((0x01, 10, 0x80, 5, 0, 0, 0, 0, 5, 0, 0, 0)),
            0x08: bytes((0x08, 18, 0x04 if self.write_cache else 0)) + bytes(17),
            0x0A: bytes((0x0A, 10, 0, 0x10, 0, 0, 0, 0, 0, 0, 0, 0)),
        }
        return b"".join(pages.values()) if page == ALL_PAGES else pages.get(page)

    def mode_header(self) -> tuple[int, int, bytes]:
        sectors = min(self._disk.sectors, 0xFFFF_FFFF)
        # Write protection; DPO and FUA are understood.
        return 0, 0x80 * self._disk.read_only | 0x10, sectors.to_bytes(4, "big") + SECTOR.to_bytes(4, "big")

    def _select_pages(self, cdb: bytes, data: bytes) -> None:
        """MODE SELECT: the write cache can be turned off and on, everything else stays."""
        at = 4 + data[3] if cdb[0] == 0x15 and len(data) >= 4 else 8 + field(data, 6, 2)
        while at + 2 <= len(data):
            if data[at] & 0x3F == 0x08 and at + 3 <= len(data):
                self.write_cache = bool(data[at + 2] & 0x04)
                if not self.write_cache:
                    self._disk.flush()
            at += 2 + data[at + 1]

    COMMANDS: ClassVar[Mapping[int, Callable[[ScsiDisk, bytes], Phase]]] = {
        0x00: ScsiUnit.test_unit_ready, 0x03: ScsiUnit.request_sense, 0x04: _format_unit, 0x08: _read, 0x0A: _write,
        0x12: ScsiUnit.inquiry, 0x15: ScsiUnit.mode_select, 0x1A: ScsiUnit.mode_sense, 0x1B: _nothing,
        0x1D: _nothing, 0x1E: ScsiUnit.prevent_allow, 0x25: _read_capacity, 0x28: _read, 0x2A: _write, 0x2B: _nothing,
        0x2E: _write, 0x2F: _verify, 0x35: _synchronize, 0x41: _write_same, 0x42: _unmap, 0x55: ScsiUnit.mode_select,
        0x5A: ScsiUnit.mode_sense, 0x88: _read, 0x8A: _write, 0x8E: _write, 0x8F: _verify, 0x91: _synchronize,
        0x93: _write_same, 0x9E: _service_action_in, 0xA8: _read, 0xAA: _write, 0xAE: _write, 0xAF: _verify,
    }  # fmt: skip
