"""Which of the kernel formats a file is, and its boot plan."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from x86emu.errors import UserInputError
from x86emu.firmware import bzimage, elf, multiboot, pvh
from x86emu.firmware.files import read_user_file
from x86emu.firmware.multiboot import Module
from x86emu.firmware.plan import BootPlan

WHAT = "a kernel: a Linux bzImage, a multiboot kernel, or an ELF file with a PVH entry"
KNOWN_OTHERS = {
    b"\x1f\x8b": "gzip-compressed; unpack it with gunzip",
    b"\xfd7zXZ": "xz-compressed; unpack it with unxz",
    b"\x28\xb5\x2f\xfd": "zstd-compressed; unpack it with unzstd",
    b"070701": "a cpio archive; an initrd goes to --initrd",
    b"!<arch>": "an archive of object files; give the linked kernel",
}


def _split(text: str) -> list[str]:
    return [part.replace("\0", ",") for part in text.replace(",,", "\0").split(",")]


def plan_kernel(
    path: Path,
    *,
    command_line: str = "",
    initrd: Path | None = None,
    modules: Sequence[str] = (),
    memory_below_4g: int,
) -> BootPlan:
    """Reads the kernel and what goes with it and returns the checked plan.

    ``modules`` are "FILE ARGUMENTS" strings; the initrd is the first module of a multiboot or PVH kernel, or, where
    there is no file of its name, a list of such strings with commas between them (a comma inside is doubled).
    UserInputError names the file that is no kernel, is truncated, or does not fit.
    """
    data = read_user_file(path, WHAT)
    takes_modules = not bzimage.is_bzimage(data)
    texts = list(modules)
    if takes_modules and initrd is not None and not initrd.exists():
        texts = _split(str(initrd)) + texts
        initrd = None
    initrd_data = read_user_file(initrd, "an initial RAM disk") if initrd is not None else None
    loaded = []
    if initrd is not None and initrd_data is not None:
        loaded.append(Module(initrd_data, initrd.name))
    for text in texts:
        name, _, _arguments = text.strip().partition(" ")
        loaded.append(Module(read_user_file(Path(name), "a boot module"), text.strip()))

    header = multiboot.find_header(data)
    if not takes_modules:
        if modules:
            raise UserInputError(f"--module: {path} is a Linux bzImage, which takes no modules; use --initrd")
        plan = bzimage.plan_bzimage(path, data, command_line, initrd_data, memory_below_4g)
    elif header is not None:
        plan = multiboot.plan_multiboot(path, data, header, command_line, loaded)
    elif elf.is_elf(data):
        kernel = elf.read_elf(path, data)
        entry = pvh.entry_of(kernel)
        if entry is None:
            raise UserInputError(
                f"{path}: is an ELF file without a multiboot header and without a PVH entry note; give a bzImage, or"
                " build the kernel with CONFIG_PVH"
            )
        plan = pvh.plan_pvh(path, kernel, entry, command_line, loaded, memory_below_4g)
    else:
        for magic, words in KNOWN_OTHERS.items():
            if data.startswith(magic):
                raise UserInputError(f"{path}: is no kernel but {words}")
        if data[0x1FE:0x200] == b"\x55\xaa":
            raise UserInputError(
                f"{path}: is a boot sector or a disk image (or a Linux older than 1.3.73), not a kernel that can be"
                " loaded; boot a disk with --disk, a kernel as bzImage"
            )
        raise UserInputError(f"{path}: is no kernel; give {WHAT}")
    plan.check(memory_below_4g)
    return plan
