"""Drives whose medium can be changed while the machine runs, by the names that the monitor uses."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from x86emu.devices.atapi_cdrom import AtapiCdrom
from x86emu.devices.floppy_drive import FORMATS, FloppyDrive, format_of
from x86emu.errors import UserInputError
from x86emu.machine.media import open_cdrom, open_disk

if TYPE_CHECKING:
    from x86emu.machine.pc import Machine
    from x86emu.storage import Image

ALIASES = {"cdrom": "cd0", "ide1-cd0": "cd0", "floppy0": "fd0", "floppy1": "fd1", "a": "fd0", "b": "fd1"}


class CdromDrive(Protocol):
    """A CD-ROM drive of any controller, as the host's side sees it."""

    def insert(self, medium: Image, /) -> object: ...

    def eject(self, *, force: bool = False) -> bool: ...


Drive = CdromDrive | FloppyDrive


def drives(machine: Machine) -> dict[str, Drive]:
    """cd0 ... in the order of their controllers, fd0 and fd1."""
    found: dict[str, Drive] = {}
    cdroms: list[CdromDrive] = [
        drive for channel in machine.ide.channels for drive in channel.drives if isinstance(drive, AtapiCdrom)
    ]
    for number, cdrom in enumerate(cdroms):
        found[f"cd{number}"] = cdrom
    for number, floppy in enumerate(machine.floppies):
        found[f"fd{number}"] = floppy
    return found


def drive_named(machine: Machine, name: str) -> Drive:
    """UserInputError where there is no such drive."""
    there = drives(machine)
    drive = there.get(ALIASES.get(name.lower(), name.lower()))
    if drive is None:
        known = ", ".join(there) or "none"
        raise UserInputError(f"There is no drive {name!r} whose medium can be changed; this machine has: {known}.")
    return drive


def medium_of(drive: Drive) -> Image | None:
    """What is in a drive, with the tray open or closed."""
    medium = getattr(drive, "medium", None)
    return medium if medium is not None else getattr(drive, "_medium", None)


def eject(machine: Machine, name: str, *, force: bool = False) -> None:
    """Takes the medium out.  UserInputError where there is no such drive or the guest has locked it."""
    drive = drive_named(machine, name)
    medium = medium_of(drive)
    if isinstance(drive, FloppyDrive):
        drive.eject()
    elif not drive.eject(force=force):
        raise UserInputError(
            f"The guest has locked the tray of {name}; it has been asked to let go. Try again, or force it: eject -f"
            f" {name}"
        )
    _give_back(machine, medium)


def change(machine: Machine, name: str, path: Path, *, read_only: bool = False) -> None:
    """Puts another medium in.  UserInputError where the file cannot be used or the drive is locked."""
    drive = drive_named(machine, name)
    image: Image
    if isinstance(drive, FloppyDrive):
        image = open_disk(path, snapshot=machine.config.snapshot, read_only=read_only)
        if format_of(image.sectors) is None or format_of(image.sectors).name not in drive.kind.formats:  # type: ignore[union-attr]
            size, known = image.size >> 10, ", ".join(form.name for form in FORMATS if form.name in drive.kind.formats)
            image.close()
            raise UserInputError(f"The image {path} has {size} KiB; this drive takes {known}.")
    else:
        image = open_cdrom(path)
    try:
        if medium_of(drive) is not None:
            eject(machine, name)
    except UserInputError:
        image.close()
        raise
    machine.images.append(image)
    drive.insert(image)


def _give_back(machine: Machine, medium: Image | None) -> None:
    if medium is None:
        return
    if medium in machine.images:
        machine.images.remove(medium)
    try:
        medium.close()
    except OSError as error:
        raise UserInputError(
            f"What the guest wrote last could not be stored in {medium.path} ({error.strerror or error}); make room on"
            " the host and check the image."
        ) from None
