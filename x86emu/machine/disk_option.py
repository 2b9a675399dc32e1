"""What `--disk` says: FILE[,if=ide|virtio|nvme][,format=raw|qcow2][,snapshot][,readonly]; `,,` is a comma in FILE."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from x86emu.errors import UserInputError
from x86emu.storage.opening import FORMATS

INTERFACES = ("ide", "virtio", "nvme")


@dataclass(frozen=True)
class DiskOption:
    """One disk.  `format` None is found out from the file; `snapshot` keeps the guest's writes in memory."""

    path: Path
    interface: str = "ide"
    format: str | None = None
    snapshot: bool = False
    read_only: bool = False

    @classmethod
    def floppy(cls, disk: Path | DiskOption | None) -> DiskOption | None:
        """A floppy drive's medium; None is an empty drive."""
        return cls(disk) if isinstance(disk, Path) else disk

    @classmethod
    def of(cls, disk: Path | DiskOption) -> DiskOption:
        """A path alone is an IDE disk."""
        return disk if isinstance(disk, DiskOption) else cls(disk)


def parse_disk(text: str, option: str = "--disk") -> DiskOption:
    """The option's text.  UserInputError where it has a part that is not understood; only a disk has an interface."""
    name, *parts = text.replace(",,", "\0").split(",")
    name = name.replace("\0", ",")
    if not name:
        raise UserInputError(f"{option} {text}: names no file; disk.img would do")
    interface, format, flags = "ide", None, {"snapshot": False, "readonly": False}
    for part in parts:
        key, given, value = part.partition("=")
        if key == "if" and value in INTERFACES and option == "--disk":
            interface = value
        elif key == "format" and value in FORMATS:
            format = value
        elif key in flags and (not given or value in ("on", "off")):
            flags[key] = value != "off"
        else:
            interfaces = f"if={'|'.join(INTERFACES)}, " if option == "--disk" else ""
            raise UserInputError(
                f"{option} {text}: {part!r} is not understood; {interfaces}format={'|'.join(FORMATS)},"
                " snapshot and readonly are (a comma in the file's name is written twice)"
            )
    return DiskOption(Path(name), interface, format, flags["snapshot"], flags["readonly"])


def parse_floppy(text: str) -> DiskOption | None:
    """What `--floppy` says: FILE[,format=raw|qcow2][,snapshot][,readonly], or none for an empty drive."""
    return None if text == "none" else parse_disk(text, "--floppy")
