"""What `--disk`, `--cdrom` and `--floppy` say; `,,` is a comma in a file's name.

--disk FILE[,if=ide|ahci|scsi|virtio|nvme][,format=raw|qcow2][,snapshot][,readonly]
--cdrom FILE[,if=ide|ahci|scsi][,session=SECTOR]...
--floppy FILE[,format=raw|qcow2][,snapshot][,readonly]
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from x86emu.errors import UserInputError
from x86emu.storage.opening import FORMATS

INTERFACES = ("ide", "ahci", "scsi", "virtio", "nvme")
CDROM_INTERFACES = ("ide", "ahci", "scsi")


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


@dataclass(frozen=True)
class CdromOption:
    """A CD-ROM drive.  `path` None is an empty one; `sessions` are the first sectors of the medium's sessions."""

    path: Path | None
    interface: str = "ide"
    sessions: tuple[int, ...] = (0,)

    @classmethod
    def of(cls, cdrom: Path | CdromOption) -> CdromOption:
        """A path alone is a disc in an IDE drive."""
        return cdrom if isinstance(cdrom, CdromOption) else cls(cdrom)


def parse_cdrom(text: str) -> CdromOption:
    """What `--cdrom` says; `none` is an empty drive."""
    name, *parts = text.replace(",,", "\0").split(",")
    name = name.replace("\0", ",")
    if not name:
        raise UserInputError(f"--cdrom {text}: names no file; disc.iso would do")
    interface, sessions = "ide", [0]
    for part in parts:
        key, _, value = part.partition("=")
        if key == "if" and value in CDROM_INTERFACES:
            interface = value
        elif key == "session" and value.isdecimal() and int(value) > sessions[-1]:
            sessions.append(int(value))
        else:
            raise UserInputError(
                f"--cdrom {text}: {part!r} is not understood; if={'|'.join(CDROM_INTERFACES)} and session=SECTOR are,"
                " the latter for the first sector of each session behind the first, in order"
            )
    return CdromOption(None if name == "none" else Path(name), interface, tuple(sessions))
