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
    def of(cls, disk: Path | DiskOption) -> DiskOption:
        """A path alone is an IDE disk."""
        return disk if isinstance(disk, DiskOption) else cls(disk)


def parse_disk(text: str) -> DiskOption:
    """The option's text.  UserInputError where it has a part that is not understood."""
    name, *parts = text.replace(",,", "\0").split(",")
    name = name.replace("\0", ",")
    if not name:
        raise UserInputError(f"--disk {text}: names no file; disk.img would do")
    interface, format, flags = "ide", None, {"snapshot": False, "readonly": False}
    for part in parts:
        key, given, value = part.partition("=")
        if key == "if" and value in INTERFACES:
            interface = value
        elif key == "format" and value in FORMATS:
            format = value
        elif key in flags and (not given or value in ("on", "off")):
            flags[key] = value != "off"
        else:
            raise UserInputError(
                f"--disk {text}: {part!r} is not understood; if={'|'.join(INTERFACES)}, format={'|'.join(FORMATS)},"
                " snapshot and readonly are (a comma in the file's name is written twice)"
            )
    return DiskOption(Path(name), interface, format, flags["snapshot"], flags["readonly"])
