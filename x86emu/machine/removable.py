"""Drives whose medium can be changed while the machine runs, by the names that the monitor uses."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from x86emu.devices.atapi_cdrom import AtapiCdrom
from x86emu.devices.floppy_drive import FORMATS, FloppyDrive, format_of
from x86emu.devices.scsi_cdrom import ScsiCdrom
from x86emu.errors import UserInputError
from x86emu.machine.disk_option import parse_cdrom, parse_floppy

if TYPE_CHECKING:
    from x86emu.machine.board import Board
    from x86emu.storage import Image

ALIASES = {"cdrom": "cd0", "ide1-cd0": "cd0", "floppy0": "fd0", "floppy1": "fd1", "a": "fd0", "b": "fd1"}
Drive = AtapiCdrom | ScsiCdrom | FloppyDrive


class RemovableDrives:
    """`cd0`, `fd0` and `fd1`, as far as the machine has them; also by the names in ALIASES."""

    def __init__(self, board: Board) -> None:
        self._board = board
        self.drives: dict[str, Drive] = {}

    def add(self, name: str, drive: Drive) -> None:
        """Says what the drive is called."""
        self.drives[name] = drive

    def media(self) -> dict[str, Path | None]:
        """Which image is in which drive."""
        return {name: image.path if (image := self.image(name)) else None for name in self.drives}

    def drive(self, name: str) -> Drive:
        """UserInputError where there is no such drive."""
        drive = self.drives.get(ALIASES.get(name.lower(), name.lower()))
        if drive is None:
            known = ", ".join(self.drives) or "none"
            raise UserInputError(f"There is no drive {name!r} whose medium can be changed; this machine has: {known}.")
        return drive

    def image(self, name: str) -> Image | None:
        """What is in a drive, with the tray open or closed."""
        drive = self.drive(name)
        if isinstance(drive, FloppyDrive):
            medium = drive.medium
        else:
            medium = drive.unit.inserted if isinstance(drive, AtapiCdrom) else drive.inserted
        return next((image for image in self._board.images if image is medium), None)

    def eject(self, name: str, *, force: bool = False) -> None:
        """Takes the medium out and gives its image back.

        UserInputError where there is no such drive, and where the guest has locked the tray: it is told that somebody
        pressed the button, and may open it itself; `force` takes the medium out all the same.
        """
        drive, image = self.drive(name), self.image(name)
        if isinstance(drive, FloppyDrive):
            drive.eject()
        elif not drive.eject(force=force):
            raise UserInputError(
                f"The guest has locked the tray of {name}; it has been asked to let go. Try again, or force it: eject"
                f" -f {name}"
            )
        self._give_back(image)

    def change(self, name: str, text: str, *, force: bool = False) -> None:
        """Puts another medium in, given as `--cdrom` or `--floppy` take it.

        UserInputError as `eject`, or where the image cannot be used; then the drive keeps what it has.
        """
        drive = self.drive(name)
        if isinstance(drive, FloppyDrive):
            self._change_floppy(name, drive, text)
            return
        from x86emu.machine import disks

        disc = parse_cdrom(text)
        if disc.path is None:
            self.eject(name, force=force)
            return
        medium = disks.open_disc(self._board, disc.path, disc.sessions)
        try:
            if self.image(name) is not None:
                self.eject(name, force=force)
        except UserInputError:
            self._give_back(medium)
            raise
        drive.insert(medium, disc.sessions)

    def _change_floppy(self, name: str, drive: FloppyDrive, text: str) -> None:
        from x86emu.machine import disks

        option = parse_floppy(text)
        if option is None:
            self.eject(name)
            return
        image = disks.open_floppy(self._board, option)
        format = format_of(image.sectors)
        if format is None or format.name not in drive.kind.formats:
            self._give_back(image)
            known = ", ".join(form.name for form in FORMATS if form.name in drive.kind.formats)
            raise UserInputError(f"The image {image.path} has {image.size >> 10} KiB; this drive takes {known}.")
        before = self.image(name)
        drive.insert(image)
        self._give_back(before)

    def _give_back(self, image: Image | None) -> None:
        if image is None:
            return
        self._board.images.remove(image)
        try:
            image.close()
        except OSError as error:
            raise UserInputError(
                f"What the guest wrote last could not be stored in {image.path} ({error.strerror or error}); make room"
                " on the host and check the image."
            ) from None
