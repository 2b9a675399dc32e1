"""Which disk sits where: IDE places, virtio, NVMe, AHCI and SCSI, each in the order of the command line."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from x86emu.devices.ahci import Ahci
from x86emu.devices.ata_disk import AtaDisk
from x86emu.devices.ata_drive import AtaDrive
from x86emu.devices.atapi_cdrom import AtapiCdrom
from x86emu.devices.floppy_drive import FORMATS, FloppyDrive, format_of
from x86emu.devices.nvme import Nvme
from x86emu.devices.scsi import ScsiUnit
from x86emu.devices.scsi_cdrom import ScsiCdrom
from x86emu.devices.scsi_disk import ScsiDisk
from x86emu.devices.virtio_blk import VirtioBlk
from x86emu.devices.virtio_scsi import VirtioScsi
from x86emu.errors import UserInputError
from x86emu.machine.disk_option import CdromOption, DiskOption
from x86emu.machine.media import open_cdrom, open_disk
from x86emu.storage.raw import RawImage

if TYPE_CHECKING:
    from x86emu.machine.board import Board
    from x86emu.machine.pci_slots import PciSlots
    from x86emu.storage import Image


def _of(board: Board, interface: str) -> list[DiskOption]:
    return [option for option in map(DiskOption.of, board.config.disks) if option.interface == interface]


def _open(board: Board, disk: DiskOption) -> Image:
    image = open_disk(
        disk.path, format=disk.format, snapshot=disk.snapshot or board.config.snapshot, read_only=disk.read_only
    )
    board.images.append(image)
    return image


def open_disc(board: Board, path: Path, sessions: tuple[int, ...]) -> RawImage:
    """The image of a CD; UserInputError where it is unusable or a session lies behind its end."""
    image = open_cdrom(path)
    if sessions[-1] >= image.sectors:
        image.close()
        raise UserInputError(
            f"The image {path} has {image.sectors} sectors, so that no session begins at {sessions[-1]}; the first"
            " sector of a session that it has would do."
        )
    board.images.append(image)
    return image


def _cdrom_on(board: Board, interface: str) -> tuple[RawImage | None, tuple[int, ...]] | None:
    """Medium and sessions of the CD-ROM drive, if it has that interface."""
    if board.config.cdrom is None:
        return None
    option = CdromOption.of(board.config.cdrom)
    if option.interface != interface:
        return None
    return (open_disc(board, option.path, option.sessions) if option.path is not None else None), option.sessions


def open_drives(board: Board) -> list[AtaDrive | None]:
    """The four IDE places: disks go to the first free ones, the CD-ROM to the secondary master."""
    drives: list[AtaDrive | None] = [None] * 4
    if (disc := _cdrom_on(board, "ide")) is not None:
        drive = drives[2] = AtapiCdrom(disc[0], sessions=disc[1])
        board.removable.add("cd0", drive)
    free = [place for place in range(4) if drives[place] is None]
    for number, (place, disk) in enumerate(zip(free, _of(board, "ide"), strict=False)):
        drives[place] = AtaDisk(_open(board, disk), name=f"ATA disk {number}", serial=f"X86EMU{number:04}")
    return drives


def open_floppy(board: Board, disk: DiskOption) -> Image:
    """The image of a floppy disk; UserInputError where it is none."""
    image = _open(board, disk)
    if format_of(image.sectors) is None:
        board.images.remove(image)
        image.close()
        raise UserInputError(
            f"The image {image.path} has {image.size >> 10} KiB, which is no floppy disk; one of "
            + ", ".join(format.name for format in FORMATS) + " would do."
        )  # fmt: skip
    return image


def open_floppies(board: Board) -> list[FloppyDrive]:
    """The floppy drives, each of the kind that its medium needs; empty ones are 1.44M drives."""
    drives: list[FloppyDrive] = []
    for number, disk in enumerate(map(DiskOption.floppy, board.config.floppies)):
        name = f"floppy drive {number}"
        image = None if disk is None else open_floppy(board, disk)
        drive = FloppyDrive(image, name=name)
        board.removable.add(f"fd{number}", drive)
        drives.append(drive)
    return drives


def cmos_types(drives: list[FloppyDrive]) -> tuple[int, int]:
    """What CMOS byte 10h says of drives A and B."""
    first, second = [drive.kind.cmos_type for drive in drives] + [0] * (2 - len(drives))
    return first, second


def _ahci(board: Board, slots: PciSlots) -> None:
    """One adapter: disks first, then the CD-ROM."""
    drives: list[AtaDrive] = [
        AtaDisk(_open(board, disk), name=f"SATA disk {number}", serial=f"X86EMUA{number:04}", serial_ata=True)
        for number, disk in enumerate(_of(board, "ahci"))
    ]
    if (disc := _cdrom_on(board, "ahci")) is not None:
        drive = AtapiCdrom(disc[0], sessions=disc[1], name="SATA CD-ROM", serial_ata=True)
        board.removable.add("cd0", drive)
        drives.append(drive)
    if drives:
        slots.add(Ahci(drives, board.dma, board.in_ram))


def _scsi(board: Board, slots: PciSlots) -> None:
    """One virtio-scsi adapter: targets are disks first, then the CD-ROM."""
    units: list[ScsiUnit] = [
        ScsiDisk(_open(board, disk), name=f"SCSI disk {number}", serial=f"X86EMUS{number:04}")
        for number, disk in enumerate(_of(board, "scsi"))
    ]
    if (disc := _cdrom_on(board, "scsi")) is not None:
        drive = ScsiCdrom(disc[0], sessions=disc[1])
        board.removable.add("cd0", drive)
        units.append(drive)
    if units:
        slots.add_virtio(VirtioScsi(units))


def wire(board: Board, slots: PciSlots) -> None:
    """PCI functions of disks: virtio first, then NVMe, AHCI and virtio-scsi."""
    for number, disk in enumerate(_of(board, "virtio")):
        model = VirtioBlk(_open(board, disk), name=f"virtio disk {number}", serial=f"X86EMUV{number:04}")
        slots.add_virtio(model)
    for number, disk in enumerate(_of(board, "nvme")):
        image = _open(board, disk)
        name, serial = f"nvme disk {number}", f"X86EMUN{number}"
        slots.add(Nvme(image, board.dma, board.in_ram, name=name, serial=serial))
    _ahci(board, slots)
    _scsi(board, slots)
