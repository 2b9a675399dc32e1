"""Linux bzImage and zImage by the 16-bit boot protocol (kernel documentation "The Linux/x86 Boot Protocol").

Versions 2.00 and later.  The set-up code runs as it does under any boot loader, so the firmware's own services give it
memory map, video mode and so on.  Departure: the video mode stays "normal" unless vga= stands in the command line.

    offset  protocol  field
    1F1h    all       setup_sects           202h  2.00  version            218h  2.00  ramdisk_image
    1FAh    all       vid_mode              210h  2.00  type_of_loader     21Ch  2.00  ramdisk_size
    1FEh    all       boot_flag AA55h       211h  2.00  loadflags          224h  2.01  heap_end_ptr
    201h    2.00      "HdrS" at 202h        214h  2.00  code32_start       228h  2.02  cmd_line_ptr
    020h    <=2.01    cmd_line_magic        022h  <=2.01 cmd_line_offset   22Ch  2.03  initrd_addr_max
                                                                           238h  2.06  cmdline_size
"""

from __future__ import annotations

from pathlib import Path

from x86emu.errors import UserInputError
from x86emu.firmware.plan import FIRMWARE_RESERVE, BootPlan, EntryMode

SECTOR = 512
MAGIC = b"HdrS"
LOADED_HIGH, CAN_USE_HEAP = 0x01, 0x80
LOADER_UNDEFINED = 0xFF
OLD_COMMAND_LINE_MAGIC = 0xA33F
SETUP_HIGH, SETUP_LOW = 0x1_0000, 0x9_0000
HEAP_END = 0xE000  # offset in the set-up segment where its stack begins and the heap must end
COMMAND_LINE = 0x2_0000
LOAD_HIGH, LOAD_LOW = 0x10_0000, 0x1_0000
VIDEO_MODES = {"normal": 0xFFFF, "ext": 0xFFFE, "ask": 0xFFFD}
PAGE = 4096


def is_bzimage(data: bytes) -> bool:
    return len(data) >= 0x210 and data[0x1FE:0x200] == b"\x55\xaa" and data[0x202:0x206] == MAGIC


def _field(data: bytes | bytearray, offset: int, size: int) -> int:
    return int.from_bytes(data[offset : offset + size], "little")


def _video_mode(command_line: str) -> int | None:
    for word in command_line.split():
        if word.startswith("vga="):
            text = word[4:]
            try:
                return VIDEO_MODES[text] if text in VIDEO_MODES else int(text, 0) & 0xFFFF
            except ValueError:
                raise UserInputError(
                    f"--append: {word!r} is no video mode; vga=normal, vga=ext, vga=ask or vga=NUMBER would do"
                ) from None
    return None


def plan_bzimage(path: Path, data: bytes, command_line: str, initrd: bytes | None, memory_below_4g: int) -> BootPlan:
    """The plan for a Linux image; UserInputError where it is truncated, too old, or does not fit into memory."""
    version = _field(data, 0x206, 2)
    setup_bytes = ((data[0x1F1] or 4) + 1) * SECTOR
    if len(data) <= setup_bytes:
        raise UserInputError(
            f"{path}: is truncated: its set-up code alone has {setup_bytes} bytes, the file has {len(data)}; give the"
            " whole bzImage"
        )
    if version >= 0x0204:
        expected = setup_bytes + 16 * _field(data, 0x1F4, 4)
        # A signature may follow; less than announced is a cut-off file (the last paragraph may be short).
        if len(data) < expected - 16:
            raise UserInputError(
                f"{path}: is truncated: its header announces {expected} bytes, the file has {len(data)}; give the whole"
                " bzImage"
            )
    setup = bytearray(data[:setup_bytes])
    kernel = data[setup_bytes:]
    high = bool(setup[0x211] & LOADED_HIGH)
    setup_address = SETUP_HIGH if high else SETUP_LOW
    load_address = LOAD_HIGH if high else LOAD_LOW
    if not high and len(kernel) > SETUP_LOW - LOAD_LOW:
        raise UserInputError(f"{path}: is a zImage with more than 512 KiB of kernel; a bzImage would do")

    def put(offset: int, size: int, value: int) -> None:
        setup[offset : offset + size] = value.to_bytes(size, "little")

    text = command_line.encode("utf-8", "surrogateescape") + b"\0"
    longest = _field(setup, 0x238, 4) if version >= 0x0206 else 255
    if len(text) - 1 > longest:
        raise UserInputError(
            f"--append: the command line has {len(text) - 1} characters, {path} takes {longest}; a shorter one would do"
        )
    mode = _video_mode(command_line)
    put(0x1FA, 2, VIDEO_MODES["normal"] if mode is None else mode)
    put(0x210, 1, LOADER_UNDEFINED)
    if version >= 0x0201:
        put(0x211, 1, setup[0x211] | CAN_USE_HEAP)
        put(0x224, 2, HEAP_END - 0x200)
    if version >= 0x0202:
        command_line_address = COMMAND_LINE if high else setup_address + HEAP_END
        put(0x228, 4, command_line_address)
    else:
        command_line_address = setup_address + HEAP_END
        put(0x20, 2, OLD_COMMAND_LINE_MAGIC)
        put(0x22, 2, HEAP_END)

    plan = BootPlan(
        path, "bzImage", EntryMode.REAL,
        target=(setup_address >> 4) + 0x20 << 16, stack=(setup_address >> 4) << 16 | HEAP_END,
    )  # fmt: skip
    if initrd:
        highest = _field(setup, 0x22C, 4) if version >= 0x0203 else 0x37FF_FFFF
        top = min(highest + 1, memory_below_4g - FIRMWARE_RESERVE)
        address = (top - len(initrd)) & -PAGE
        # The kernel unpacks itself upwards from where it is loaded; init_size is how far (2.10).
        needed = load_address + (_field(setup, 0x260, 4) if version >= 0x020A else len(kernel))
        if version >= 0x020A:
            needed = max(needed, _field(setup, 0x258, 8) + _field(setup, 0x260, 4))
        if address < needed:
            raise UserInputError(
                f"--initrd: {len(initrd)} bytes do not fit above the kernel, which needs memory up to {needed:#x}; give"
                " the guest more memory with --memory"
            )
        put(0x218, 4, address)
        put(0x21C, 4, len(initrd))
        plan.place(address, initrd)
    plan.place(setup_address, bytes(setup))
    plan.place(load_address, kernel)
    plan.place(command_line_address, text)
    return plan
