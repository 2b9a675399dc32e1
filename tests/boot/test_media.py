"""Unmodified Debian kernels through every way in, on one processor and on four, to power-off."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.boot.kit import boot, guest


@dataclass(frozen=True)
class Way:
    """A way into a kernel: options with {file} names of the kit, and what the guest must say."""

    options: str
    guest_name: str
    machine: str
    loader: str = ""
    disk: str = ""
    slow: bool = False


AMD64, I686 = "x86_64", "i686"
LINUX64 = "--initrd {linux64.cpio.gz} --append console=ttyS0"
LINUX32 = "--initrd {linux32.cpio.gz} --append console=ttyS0"
WAYS = {
    "linux64 bzImage": Way("--kernel {linux64.vmlinuz} " + LINUX64, "linux64", AMD64),
    "linux64 PVH ELF": Way("--kernel {linux64.vmlinux} " + LINUX64, "linux64", AMD64),
    "linux64 disk GRUB ext4": Way("--snapshot --disk {linux64-ext4.img}", "linux64-disk", AMD64, "grub", "sda1"),
    "linux64 disk SYSLINUX FAT": Way("--snapshot --disk {linux64-fat.img}", "linux64-disk", AMD64, "", "sda1"),
    "linux64 ISO ISOLINUX": Way("--cdrom {linux64.iso}", "linux64-disk", AMD64, "", "sr0"),
    "linux64 ISO GRUB": Way("--cdrom {linux64-grub.iso}", "linux64-disk", AMD64, "grub", "sr0"),
    "linux64 isohybrid disk": Way("--snapshot --disk {linux64.iso} --cdrom {linux64.iso} --boot c",
                                  "linux64-disk", AMD64, "", "sr0", slow=True),
    "linux32 686 bzImage": Way("--kernel {linux32.vmlinuz} " + LINUX32, "linux32", I686),
    "linux32 686-pae bzImage": Way("--kernel {linux32-pae.vmlinuz} " + LINUX32, "linux32", I686),
    "linux32 686 disk SYSLINUX FAT": Way("--snapshot --disk {linux32-fat.img}", "linux32-disk", I686, "", "sda1"),
    "linux32 686 ISO ISOLINUX": Way("--cdrom {linux32.iso}", "linux32-disk", I686, "", "sr0"),
    "linux32 686-pae ISO ISOLINUX": Way("--cdrom {linux32-pae.iso}", "linux32-pae-disk", I686, "", "sr0"),
}  # fmt: skip


def options(text: str) -> list[str]:
    """The words of a Way's options, with the kit's files filled in."""
    return [str(guest(word[1:-1])) if word.startswith("{") else word for word in text.split()]


CASES = [
    pytest.param(way, processors, id=f"{name}, {processors} cpu", marks=[pytest.mark.slow] if way.slow else [])
    for name, way in WAYS.items()
    for processors in (1, 4)
]


@pytest.mark.parametrize(("way", "processors"), CASES)
def test_boots_to_power_off(way: Way, processors: int, tmp_path: Path) -> None:
    run = boot(tmp_path, *options(way.options), "--smp", str(processors))
    assert run.code == 0, run
    marks = run.marks
    if way.loader:
        assert marks.pop(0) == f"{way.loader} up", run
    booted, *middle, end = marks
    assert booted.startswith(f"{way.guest_name} booted Linux "), run
    assert booted.endswith(f" {way.machine} cpus={processors}"), run
    assert end == f"{way.guest_name} end=poweroff", run
    assert not [mark for mark in middle if "FAILED" in mark], run
    if way.disk:
        assert middle[-1] == f"{way.guest_name} disk {way.disk} OK", run
    else:
        assert middle == [], run


def test_multiboot_kernel_with_a_module(tmp_path: Path) -> None:
    kernel = guest("multiboot.elf")
    run = boot(tmp_path, "--kernel", kernel, "--initrd", kernel, "--append", "one two", "--memory", "64M")
    assert run.code == 0, run
    (mark,) = run.marks
    words = dict(word.split("=", 1) for word in mark.removeprefix("multiboot ").split(" ", 5))
    assert words["magic"] == "2BADB002"
    assert int(words["flags"], 16) & 0x4D == 0x4D  # memory, command line, modules, memory map
    assert 62 << 10 <= int(words["upper"], 16) <= 63 << 10  # KiB above 1 MiB, less what the firmware keeps
    assert words["modules"] == "00000001"
    assert words["first"] == "464C457F"  # 7Fh ELF
    assert words["command"].endswith("one two]")
