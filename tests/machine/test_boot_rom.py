"""The boot ROM under SeaBIOS: tiny kernels of each format are entered as their specifications say."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import pytest

from tests.firmware.test_loaders import bzimage, elf32, multiboot_header
from x86emu.firmware.bios import SEARCH
from x86emu.machine import Machine, StopReason

SEABIOS = next((path for path in SEARCH if path.is_file()), None)
pytestmark = pytest.mark.skipif(SEABIOS is None, reason="SeaBIOS is not installed: apt-get install seabios")
LIMIT = 60_000_000
MEMORY = 64 << 20
DEBUG_EXIT = 0xF4

SET_LINE_32 = bytes.fromhex("66bafb03 b003 ee 66baf803")  # 8 bits a character; DX is the transmitter
SAY_AND_LEAVE_32 = bytes.fromhex("ac 84c0 7403 ee ebf8 66baf400 b010 ee f4")  # text at ESI, then value 10h to F4h
SET_LINE_16 = bytes.fromhex("bafb03 b003 ee baf803")
SAY_AND_LEAVE_16 = bytes.fromhex("ac 84c0 7403 ee ebf8 baf400 b010 ee f4")


def boot(kernel: Path, **options: Any) -> Machine:
    machine = Machine(SEABIOS, memory=MEMORY, kernel=kernel, debug_exit_port=DEBUG_EXIT, **options)
    result = machine.run(LIMIT)
    assert result.reason is StopReason.DEBUG_EXIT, machine.debug_console.text[-500:] + machine.screen.text
    assert result.status == 0x21
    return machine


def ram_of(entries: list[tuple[int, int, int]]) -> int:
    return sum(length for _, length, kind in entries if kind == 1)


def test_multiboot_kernel_gets_its_information(tmp_path: Path) -> None:
    code = SET_LINE_32 + b"\x8b\x73\x10" + SAY_AND_LEAVE_32  # MOV ESI, [EBX + 16]: the command line
    kernel = tmp_path / "kernel.elf"
    kernel.write_bytes(elf32([(0x100000, 0x100000, multiboot_header() + code, 0x1000)], 0x10000C))
    module = tmp_path / "module"
    module.write_bytes(b"module bytes")
    machine = boot(kernel, append="one two", modules=[f"{module} three"])
    assert machine.serial.text == "kernel.elf one two"
    cpu = machine.cpus[0]
    assert cpu.rflags & 0x200 == 0 and cpu.cr0 & 0x80000001 == 1
    assert (cpu.cs.base, cpu.cs.limit, cpu.ds.base, cpu.ds.limit) == (0, 0xFFFFFFFF, 0, 0xFFFFFFFF)
    information = struct.unpack("<29I", machine.memory.read(cpu.rbx, 116))
    flags, lower, upper = information[:3]
    assert flags & 0x4D == 0x4D
    assert 600 <= lower <= 640 and 60 << 10 <= upper <= 63 << 10
    (start, end, _, _) = struct.unpack("<IIII", machine.memory.read(information[6], 16))
    assert machine.memory.read(start, end - start) == b"module bytes"
    length, address = information[11:13]
    rows = list(struct.iter_unpack("<IQQI", machine.memory.read(address, length)))
    assert {size for size, _, _, _ in rows} == {20}
    assert 62 << 20 <= ram_of([(base, n, kind) for _, base, n, kind in rows]) <= MEMORY
    assert [(base + n) for _, base, n, kind in rows if kind == 4] == [MEMORY]  # the ACPI tables' range


def test_multiboot_kernel_below_64_kib(tmp_path: Path) -> None:
    code = SET_LINE_32 + b"\x8b\x73\x10" + SAY_AND_LEAVE_32
    kernel = tmp_path / "low.elf"
    body = multiboot_header() + code
    kernel.write_bytes(elf32([(0x8000, 0x8000, body + bytes(0x5000 - len(body)), 0x6000)], 0x800C))
    assert boot(kernel, append="one two").serial.text == "low.elf one two"


def test_pvh_kernel_gets_its_start_info(tmp_path: Path) -> None:
    code = SET_LINE_32 + b"\x8b\x73\x18" + SAY_AND_LEAVE_32
    note = struct.pack("<III4sI", 4, 4, 18, b"Xen\0", 0x100000)
    kernel = tmp_path / "vmlinux"
    kernel.write_bytes(elf32([(0x100000, 0x100000, code, 0x1000)], 0x100000, note))
    initrd = tmp_path / "initrd"
    initrd.write_bytes(b"initial ram disk")
    machine = boot(kernel, append="console=ttyS0", initrd=initrd)
    assert machine.serial.text == "console=ttyS0"
    cpu = machine.cpus[0]
    magic, version, _, modules, modules_at, _, rsdp, map_at, entries, _ = struct.unpack(
        "<IIIIQQQQII", machine.memory.read(cpu.rbx, 56)
    )
    assert (magic, version, modules) == (0x336EC578, 1, 1)
    assert machine.memory.read(rsdp, 8) == b"RSD PTR "
    address, size, _, _ = struct.unpack("<QQQQ", machine.memory.read(modules_at, 32))
    assert machine.memory.read(address, size) == b"initial ram disk"
    rows = list(struct.iter_unpack("<QQII", machine.memory.read(map_at, 24 * entries)))
    assert 62 << 20 <= ram_of([(base, length, kind) for base, length, kind, _ in rows]) <= MEMORY
    assert [base + length for base, length, kind, _ in rows if kind == 4] == [MEMORY]
    assert (cpu.tr.base, cpu.tr.limit) == (0, 0x67)


def test_bzimage_is_entered_in_real_mode(tmp_path: Path) -> None:
    image = bytearray(bzimage(kernel=b"protected-mode part" * 64))
    image[0x200:0x202] = b"\xeb\x6e"  # jump over the header to 270h
    code = b"\xb8\x00\x20\x8e\xd8\x31\xf6" + SET_LINE_16 + SAY_AND_LEAVE_16
    image[0x270 : 0x270 + len(code)] = code
    kernel = tmp_path / "vmlinuz"
    kernel.write_bytes(image)
    machine = boot(kernel, append="quiet")
    assert machine.serial.text == "quiet"
    cpu = machine.cpus[0]
    assert (cpu.cs.selector, cpu.ss.selector, cpu.es.selector, cpu.rsp & 0xFFFF) == (0x1020, 0x1000, 0x1000, 0xE000)
    assert cpu.cr0 & 1 == 0
    assert machine.memory.read(0x100000, 19) == b"protected-mode part"


def test_seabios_finds_the_machine_and_nothing_to_boot() -> None:
    machine = Machine(SEABIOS, memory=MEMORY, cpus=2)
    assert machine.run(LIMIT, until="No bootable device").reason is StopReason.EXPECTATION_MET
    log = machine.debug_console.text
    for line in (
        "QEMU fw_cfg DMA interface supported", "Found 2 cpu(s) max supported 2 cpu(s)", "Copying SMBIOS",
        "ACPI: parse DSDT", "PCI: init bdf=00:01.3 id=8086:7113", "Using pmtimer, ioport 0x608",
    ):  # fmt: skip
        assert line in log
    assert "No bootable device" in machine.screen.text or "SeaBIOS" in machine.screen.text
