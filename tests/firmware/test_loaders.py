"""The kernel loaders on images made here: plans read back, and every sentence for a bad image."""

from __future__ import annotations

import shutil
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from x86emu.errors import UserInputError
from x86emu.firmware import bios, plan
from x86emu.firmware.kernel import plan_kernel
from x86emu.firmware.plan import BootPlan, EntryMode, MapKind

MIB = 1 << 20
ROOT = Path(__file__).resolve().parents[2]


def bzimage(version: int = 0x020D, kernel: bytes = b"K" * 1600, *, high: bool = True, setup_sectors: int = 2) -> bytes:
    setup = bytearray((setup_sectors + 1) * 512)
    setup[0x1F1] = setup_sectors
    setup[0x1FE:0x200] = b"\x55\xaa"
    setup[0x202:0x206] = b"HdrS"
    struct.pack_into("<H", setup, 0x206, version)
    setup[0x211] = 1 if high else 0
    struct.pack_into("<I", setup, 0x1F4, len(kernel) // 16)
    struct.pack_into("<I", setup, 0x22C, 0x37FFFFFF)
    struct.pack_into("<I", setup, 0x238, 64)
    struct.pack_into("<QI", setup, 0x258, 0x1000000, 0x100000)
    return bytes(setup) + kernel


def elf32(segments: list[tuple[int, int, bytes, int]], entry: int, notes: bytes = b"", machine: int = 3) -> bytes:
    """segments: (virtual, physical, data, memory size)."""
    count = len(segments) + bool(notes)
    at = 52 + 32 * count
    headers, body = b"", b""
    for virtual, physical, data, size in segments:
        headers += struct.pack("<IIIIIIII", 1, at + len(body), virtual, physical, len(data), size, 7, 4)
        body += data
    if notes:
        headers += struct.pack("<IIIIIIII", 4, at + len(body), 0, 0, len(notes), len(notes), 4, 4)
        body += notes
    ident = b"\x7fELF\1\1\1" + bytes(9)
    return (
        ident + struct.pack("<HHIIIIIHHHHHH", 2, machine, 1, entry, 52, 0, 0, 52, 32, count, 40, 0, 0) + headers + body
    )


def multiboot_header(flags: int = 3, *addresses: int) -> bytes:
    return struct.pack("<III", 0x1BADB002, flags, -(0x1BADB002 + flags) & 0xFFFFFFFF) + struct.pack(
        f"<{len(addresses)}I", *addresses
    )


PVH_NOTE = struct.pack("<III4sI", 4, 4, 18, b"Xen\0", 0x100010)


def write(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def memory_after(boot: BootPlan) -> dict[int, bytes]:
    """Carries out the two files as the ROM does."""
    files = boot.files()
    table, image = files[plan.PLAN_FILE], files[plan.IMAGE_FILE]
    header = plan.HEADER.unpack_from(table)
    assert header[0] == plan.MAGIC
    found = {}
    for row in range(header[2]):
        address, length, offset = plan.PIECE.unpack_from(table, plan.HEADER.size + row * plan.PIECE.size)
        found[address] = bytes(length) if offset == plan.ZEROS else image[offset : offset + length]
    return found


def test_bzimage_is_entered_in_real_mode_behind_its_boot_sector(tmp_path: Path) -> None:
    kernel = write(tmp_path / "vmlinuz", bzimage())
    initrd = write(tmp_path / "initrd", b"I" * 5000)
    boot = plan_kernel(kernel, command_line="console=ttyS0 vga=0x317", initrd=initrd, memory_below_4g=256 * MIB)
    assert (boot.kind, boot.mode, boot.target, boot.stack) == ("bzImage", EntryMode.REAL, 0x1020 << 16, 0x1000E000)
    memory = memory_after(boot)
    assert memory[0x100000] == b"K" * 1600
    assert memory[0x20000] == b"console=ttyS0 vga=0x317\0"
    setup = memory[0x10000]
    assert struct.unpack_from("<H", setup, 0x1FA) == (0x317,)
    assert setup[0x210:0x212] == b"\xff\x81"
    assert struct.unpack_from("<H", setup, 0x224) == (0xDE00,)
    assert struct.unpack_from("<I", setup, 0x228) == (0x20000,)
    address, size = struct.unpack_from("<II", setup, 0x218)
    assert (address % 4096, size, memory[address]) == (0, 5000, b"I" * 5000)
    assert 255 * MIB - 8192 <= address < 255 * MIB


def test_initrd_stays_below_what_the_kernel_reaches(tmp_path: Path) -> None:
    kernel = write(tmp_path / "vmlinuz", bzimage())
    initrd = write(tmp_path / "initrd", b"I" * 5000)
    boot = plan_kernel(kernel, initrd=initrd, memory_below_4g=3072 * MIB)
    (address,) = struct.unpack_from("<I", memory_after(boot)[0x10000], 0x218)
    assert address + 5000 <= 0x38000000 < address + 5000 + 8192


def test_old_protocol_takes_its_command_line_beside_the_setup_code(tmp_path: Path) -> None:
    kernel = write(tmp_path / "zImage", bzimage(0x0200, high=False))
    memory = memory_after(plan_kernel(kernel, command_line="root=/dev/fd0", memory_below_4g=16 * MIB))
    assert memory[0x10000] == b"K" * 1600
    assert memory[0x9E000] == b"root=/dev/fd0\0"
    assert struct.unpack_from("<HH", memory[0x90000], 0x20) == (0xA33F, 0xE000)


def test_multiboot_elf_with_modules(tmp_path: Path) -> None:
    code = multiboot_header() + b"code"
    kernel = write(tmp_path / "k.elf", elf32([(0xC0100000, 0x100000, code, 0x2000)], 0xC010000C))
    module = write(tmp_path / "mod", b"M" * 10)
    boot = plan_kernel(kernel, command_line="a b", modules=[f"{module} x y"], memory_below_4g=64 * MIB)
    assert (boot.kind, boot.mode, boot.target, boot.eax) == ("multiboot", EntryMode.PROTECTED, 0x10000C, 0x2BADB002)
    memory = memory_after(boot)
    assert memory[0x100000] == code and memory[0x100000 + len(code)] == bytes(0x2000 - len(code))
    info = memory[boot.ebx]
    flags, command_line, count, modules = struct.unpack_from("<I12xIII", info)
    assert flags == 1 << 0 | 1 << 2 | 1 << 3 | 1 << 6 | 1 << 9
    assert memory[command_line] == b"k.elf a b\0"
    start, end, string, _ = struct.unpack("<IIII", memory[modules])
    assert (count, start, end - start, memory[start]) == (1, 0x102000, 10, b"M" * 10)
    assert memory[string] == f"{module} x y\0".encode()
    assert (boot.map_kind, boot.map_count_address, boot.sizes_address) == (
        MapKind.MULTIBOOT,
        boot.ebx + 44,
        boot.ebx + 4,
    )
    assert struct.unpack_from("<I", info, 48) == (boot.map_address,)


def test_an_initrd_that_is_a_list_of_modules(tmp_path: Path) -> None:
    kernel = write(tmp_path / "k.elf", elf32([(0x100000, 0x100000, multiboot_header() + b"code", 0x100)], 0x10000C))
    first, second = write(tmp_path / "first", b"1" * 10), write(tmp_path / "sec,ond", b"2" * 20)
    given = Path(f"{first} console=hvc0 a,,b,{tmp_path / 'sec,,ond'}")
    boot = plan_kernel(kernel, initrd=given, modules=[f"{first} again"], memory_below_4g=64 * MIB)
    memory = memory_after(boot)
    count, modules = struct.unpack_from("<II", memory[boot.ebx], 20)
    rows = list(struct.iter_unpack("<IIII", memory[modules]))
    assert [memory[row[0]] for row in rows] == [b"1" * 10, b"2" * 20, b"1" * 10]
    assert [memory[row[2]].rstrip(b"\0").decode() for row in rows] == [
        f"{first} console=hvc0 a,b", str(second), f"{first} again",
    ]  # fmt: skip
    assert count == 3
    # A file of that very name is one module.
    boot = plan_kernel(kernel, initrd=second, memory_below_4g=64 * MIB)
    assert struct.unpack_from("<I", memory_after(boot)[boot.ebx], 20) == (1,)
    with pytest.raises(UserInputError, match="none: there is no such file; give the path of a boot module"):
        plan_kernel(kernel, initrd=Path(f"{first},none"), memory_below_4g=64 * MIB)


def test_multiboot_by_the_header_addresses(tmp_path: Path) -> None:
    body = multiboot_header(1 << 16, 0x200010, 0x200000, 0x200100, 0x200180, 0x200040)
    kernel = write(tmp_path / "k.bin", b"\xcc" * 32 + bytes(16) + body + bytes(0x100))
    boot = plan_kernel(kernel, memory_below_4g=64 * MIB)
    assert boot.target == 0x200040
    memory = memory_after(boot)
    assert len(memory[0x200000]) == 0x100 and memory[0x200000][16:48] == body
    assert memory[0x200100] == bytes(0x80)


def test_pvh_start_info(tmp_path: Path) -> None:
    kernel = write(tmp_path / "vmlinux", elf32([(0x100000, 0x100000, b"code", 4)], 0x100000, PVH_NOTE))
    initrd = write(tmp_path / "initrd", b"I" * 100)
    boot = plan_kernel(kernel, command_line="quiet", initrd=initrd, memory_below_4g=64 * MIB)
    assert (boot.kind, boot.mode, boot.target) == ("PVH", EntryMode.PROTECTED, 0x100010)
    memory = memory_after(boot)
    magic, version, _, count, modules, command_line, rsdp, memory_map, entries, _ = struct.unpack(
        "<IIIIQQQQII", memory[boot.ebx]
    )
    assert (magic, version, count, rsdp, entries) == (0x336EC578, 1, 1, 0, 0)
    assert memory[command_line] == b"quiet\0" and memory_map == boot.map_address
    address, size, _, _ = struct.unpack("<QQQQ", memory[modules])
    assert memory[address] == b"I" * size == b"I" * 100
    assert (boot.map_count_address, boot.rsdp_address) == (boot.ebx + 48, boot.ebx + 32)


BAD = {
    "empty": (b"", "is empty; give the path of a kernel"),
    "text": (b"not a kernel\n" * 100, "is no kernel; give a kernel: a Linux bzImage, a multiboot kernel, or an ELF"),
    "boot sector": (bytes(510) + b"\x55\xaa" + bytes(512), "is a boot sector or a disk image"),
    "gzip": (b"\x1f\x8b" + bytes(600), "gzip-compressed; unpack it with gunzip"),
    "cpio": (b"070701" + bytes(600), "an initrd goes to --initrd"),
    "cut-off bzImage": (bzimage(kernel=b"K" * 1600)[:-300], "is truncated: its header announces 3136 bytes"),
    "cut-off setup": (bzimage()[:1000], "its set-up code alone has 1536 bytes, the file has 1000"),
    "ELF without entry": (elf32([(0x100000, 0x100000, b"code", 4)], 0x100000), "without a PVH entry note"),
    "cut-off ELF": (elf32([(0x100000, 0x100000, b"c" * 999, 999)], 0x100000, PVH_NOTE)[:500], "truncated: a segment"),
    "ELF header only": (b"\x7fELF" + bytes(20), "broken or truncated ELF"),
    "ARM ELF": (elf32([(0x100000, 0x100000, b"code", 4)], 0, PVH_NOTE, machine=40), "is an ELF file for EM_ARM"),
    "object": (elf32([], 0, PVH_NOTE), "nothing to load"),
    "unknown multiboot flag": (multiboot_header(1 << 5) + bytes(8200), "requires multiboot features 0x20"),
    "multiboot without addresses": (multiboot_header(0) + bytes(8200), "is no ELF file; link the kernel as ELF"),
    "multiboot contradiction": (multiboot_header(1 << 16, 0x100000, 0x200000, 0, 0, 0) + bytes(99), "contradict"),
    "cut-off multiboot": (
        multiboot_header(1 << 16, 0x100000, 0x100000, 0x110000, 0, 0) + bytes(99), "asks for 65536 bytes",
    ),
    "loads over the plan": (elf32([(0xC000, 0xC000, b"code", 0x3000)], 0, PVH_NOTE), "where the firmware works"),
    "loads over the firmware": (elf32([(0xF0000, 0xF0000, b"code", 4)], 0, PVH_NOTE), "where the firmware works"),
    "loads beyond memory": (elf32([(0, 1 << 30, b"code", 4)], 0, PVH_NOTE), "more with --memory"),
}  # fmt: skip


@pytest.mark.parametrize("what", BAD)
def test_bad_kernel_is_refused_in_one_line(tmp_path: Path, what: str) -> None:
    data, words = BAD[what]
    path = write(tmp_path / "kernel", data)
    with pytest.raises(UserInputError) as caught:
        plan_kernel(path, memory_below_4g=64 * MIB)
    message = str(caught.value)
    assert message.startswith(f"{path}: ") and words in message and "\n" not in message


def test_missing_files_and_directories(tmp_path: Path) -> None:
    with pytest.raises(UserInputError, match="there is no such file; give the path of a kernel"):
        plan_kernel(tmp_path / "none", memory_below_4g=64 * MIB)
    with pytest.raises(UserInputError, match="is a directory"):
        plan_kernel(tmp_path, memory_below_4g=64 * MIB)
    kernel = write(tmp_path / "vmlinuz", bzimage())
    with pytest.raises(UserInputError, match="no such file; give the path of an initial RAM disk"):
        plan_kernel(kernel, initrd=tmp_path / "none", memory_below_4g=64 * MIB)


def test_options_that_do_not_fit_the_kernel(tmp_path: Path) -> None:
    kernel = write(tmp_path / "vmlinuz", bzimage())
    initrd = write(tmp_path / "initrd", bytes(8 * MIB))
    with pytest.raises(UserInputError, match="the command line has 65 characters, .* takes 64"):
        plan_kernel(kernel, command_line="x" * 65, memory_below_4g=64 * MIB)
    with pytest.raises(UserInputError, match="'vga=big' is no video mode"):
        plan_kernel(kernel, command_line="vga=big", memory_below_4g=64 * MIB)
    with pytest.raises(UserInputError, match="--initrd: 8388608 bytes do not fit above the kernel"):
        plan_kernel(kernel, initrd=initrd, memory_below_4g=20 * MIB)
    with pytest.raises(UserInputError, match="takes no modules; use --initrd"):
        plan_kernel(kernel, modules=[str(initrd)], memory_below_4g=64 * MIB)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "is empty"),
        (b"\x90" * 1000, "has 1000 bytes, which is no multiple of 64 KiB"),
        (bytes(65536), "has no code at its reset vector"),
        (b"\x90" * (17 * MIB), "more than the 16 MiB"),
    ],
)
def test_bad_bios_is_refused(tmp_path: Path, data: bytes, words: str) -> None:
    with pytest.raises(UserInputError, match=words):
        bios.load_bios(write(tmp_path / "bios.bin", data))


def test_good_bios_and_bad_option_roms(tmp_path: Path) -> None:
    assert len(bios.load_bios(write(tmp_path / "bios.bin", b"\xea" * 131072))) == 131072
    with pytest.raises(UserInputError, match="no option ROM"):
        bios.load_option_rom(write(tmp_path / "a.rom", b"MZ"))
    with pytest.raises(UserInputError, match="claims 1024 bytes and has 512"):
        bios.load_option_rom(write(tmp_path / "b.rom", b"\x55\xaa\x02".ljust(512, b"\0")))


def test_boot_rom_is_a_bootable_plug_and_play_rom() -> None:
    rom = plan.boot_rom()
    assert rom[:2] == b"\x55\xaa" and rom[2] * 512 == len(rom) and sum(rom) & 0xFF == 0
    header = struct.unpack_from("<H", rom, 0x1A)[0]
    assert rom[header : header + 4] == b"$PnP" and sum(rom[header : header + 32]) & 0xFF == 0
    boot_connection, _, bootstrap = struct.unpack_from("<HHH", rom, header + 0x16)
    assert boot_connection == 0 and 0 < bootstrap < len(rom)


@pytest.mark.skipif(shutil.which("nasm") is None, reason="nasm is not installed: apt-get install nasm")
def test_committed_rom_is_what_its_source_builds() -> None:
    done = subprocess.run(
        [sys.executable, "-c", "import sys, build; sys.stdout.buffer.write(build.assemble(build.SOURCE))"],
        cwd=ROOT / "bios", capture_output=True, check=True,
    )  # fmt: skip
    assert done.stdout == plan.boot_rom()
