"""BIOS images: the flash ROM that ends at 4 GiB, its last 128 KiB also below 1 MiB (82371SB datasheet 2.2.12)."""

from __future__ import annotations

from pathlib import Path

from x86emu.errors import UserInputError
from x86emu.firmware.files import read_user_file

GRANULE = 64 << 10
LARGEST = 16 << 20
WHAT = "a BIOS image such as /usr/share/seabios/bios-256k.bin (Debian package seabios)"
SEARCH = (
    Path("/usr/share/seabios/bios-256k.bin"),
    Path("/usr/share/qemu/bios-256k.bin"),
    Path("/usr/share/seabios/bios.bin"),
)


def load_bios(path: Path) -> bytes:
    """The image, checked: a multiple of 64 KiB up to 16 MiB whose reset vector holds something.

    UserInputError says what is wrong with which file.
    """
    data = read_user_file(path, WHAT)
    if len(data) > LARGEST:
        raise UserInputError(f"{path}: has {len(data)} bytes, more than the 16 MiB a BIOS image may have; give {WHAT}")
    if len(data) % GRANULE:
        raise UserInputError(
            f"{path}: has {len(data)} bytes, which is no multiple of 64 KiB, so it is no whole BIOS image; give {WHAT}"
        )
    if data[-16:] in (bytes(16), b"\xff" * 16):
        raise UserInputError(f"{path}: has no code at its reset vector (its last 16 bytes are blank); give {WHAT}")
    return data


def default_bios() -> Path:
    """The first SeaBIOS image that is installed; UserInputError names the package where there is none."""
    for path in SEARCH:
        if path.is_file():
            return path
    raise UserInputError(
        "no BIOS image was found in /usr/share/seabios; apt-get install seabios, or name one with --bios"
    )


def load_option_rom(path: Path) -> bytes:
    """An option ROM image: signature 55h AAh, length in 512 bytes, checksum (Plug and Play BIOS 1.0A, 3.1)."""
    what = "an option ROM such as /usr/share/seabios/vgabios-stdvga.bin (Debian package seabios)"
    data = read_user_file(path, what)
    if data[:2] != b"\x55\xaa":
        raise UserInputError(f"{path}: does not begin with 55h AAh, so it is no option ROM; give {what}")
    length = data[2] * 512
    if len(data) < length or length == 0:
        raise UserInputError(
            f"{path}: is truncated: it claims {length} bytes and has {len(data)}; give the whole option ROM"
        )
    return data
