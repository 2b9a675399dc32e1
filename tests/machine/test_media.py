"""Disk and CD images: the sentences for those that were cut off or are of another format."""

from __future__ import annotations

from pathlib import Path

import pytest

from x86emu.errors import UserInputError
from x86emu.machine.media import open_cdrom, open_disk


def mbr(start: int) -> bytes:
    entry = bytes([0x80, 0, 0, 0, 0x83, 0, 0, 0]) + start.to_bytes(4, "little") + (100).to_bytes(4, "little")
    return bytes(446) + entry + bytes(48) + b"\x55\xaa"


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"QFI\xfb" + bytes(508), "its version is 0"),
        (mbr(2048), "partition 1 begins at sector 2048, the file has 1"),
        (bytes(700), "700 bytes"),
        (b"", "is empty"),
    ],
)
def test_unusable_disks(tmp_path: Path, data: bytes, words: str) -> None:
    path = tmp_path / "disk.img"
    path.write_bytes(data)
    with pytest.raises(UserInputError, match=words) as caught:
        open_disk(path)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


def test_truncated_iso(tmp_path: Path) -> None:
    path = tmp_path / "a.iso"
    path.write_bytes(bytes(16 * 2048) + b"\1CD001" + bytes(74) + b"\xff\0\0\0" + bytes(2048 - 84))
    with pytest.raises(UserInputError, match="its volume has 255 sectors, the file 17"):
        open_cdrom(path)


def test_boot_sector_that_is_no_partition_table_is_accepted(tmp_path: Path) -> None:
    path = tmp_path / "floppy.img"
    path.write_bytes(b"\xeb\x3c" + b"\xa5" * 508 + b"\x55\xaa")
    assert open_disk(path, snapshot=True).sectors == 1
    path.write_bytes(mbr(0) + bytes(512))
    assert open_disk(path).sectors == 2
