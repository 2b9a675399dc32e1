"""Which disk sits where: IDE places, virtio and NVMe functions, each in the order of the command line."""

from __future__ import annotations

from typing import TYPE_CHECKING

from x86emu.devices.ata_disk import AtaDisk
from x86emu.devices.ata_drive import AtaDrive
from x86emu.devices.atapi_cdrom import AtapiCdrom
from x86emu.devices.floppy_drive import FORMATS, FloppyDrive, format_of
from x86emu.devices.nvme import Nvme
from x86emu.devices.virtio_blk import VirtioBlk
from x86emu.errors import UserInputError
from x86emu.machine.disk_option import DiskOption
from x86emu.machine.media import open_cdrom, open_disk

if TYPE_CHECKING:
    from x86emu.machine.pc import Machine
    from x86emu.machine.pci_slots import PciSlots
    from x86emu.storage import Image


def _of(machine: Machine, interface: str) -> list[DiskOption]:
    return [option for option in map(DiskOption.of, machine.config.disks) if option.interface == interface]


def _open(machine: Machine, disk: DiskOption) -> Image:
    image = open_disk(
        disk.path, format=disk.format, snapshot=disk.snapshot or machine.config.snapshot, read_only=disk.read_only
    )
    machine.images.append(image)
    return image


def open_drives(machine: Machine) -> list[AtaDrive | None]:
    """The four IDE places: disks go to the first free ones, the CD-ROM to the secondary master."""
    drives: list[AtaDrive | None] = [None] * 4
    if machine.config.cdrom is not None:
        drives[2] = AtapiCdrom(open_cdrom(machine.config.cdrom))
    free = [place for place in range(4) if drives[place] is None]
    for number, (place, disk) in enumerate(zip(free, _of(machine, "ide"), strict=False)):
        drives[place] = AtaDisk(_open(machine, disk), name=f"ATA disk {number}", serial=f"X86EMU{number:04}")
    return drives


def open_floppies(machine: Machine) -> list[FloppyDrive]:
    """The floppy drives, each of the kind that its medium needs; empty ones are 1.44M drives."""
    drives = []
    for number, disk in enumerate(map(DiskOption.floppy, machine.config.floppies)):
        name = f"floppy drive {number}"
        image = None if disk is None else _open(machine, disk)
        if image is not None and format_of(image.sectors) is None:
            raise UserInputError(
                f"The image {image.path} has {image.size >> 10} KiB, which is no floppy disk; one of "
                + ", ".join(format.name for format in FORMATS) + " would do."
            )  # fmt: skip
        drives.append(FloppyDrive(image, name=name))
    return drives


def cmos_types(drives: list[FloppyDrive]) -> tuple[int, int]:
    """What CMOS byte 10h says of drives A and B."""
    first, second = [drive.kind.cmos_type for drive in drives] + [0] * (2 - len(drives))
    return first, second


def wire(machine: Machine, slots: PciSlots) -> None:
    """PCI functions of disks: virtio first, then NVMe."""
    for number, disk in enumerate(_of(machine, "virtio")):
        model = VirtioBlk(_open(machine, disk), name=f"virtio disk {number}", serial=f"X86EMUV{number:04}")
        slots.add_virtio(model)
    for number, disk in enumerate(_of(machine, "nvme")):
        image = _open(machine, disk)
        name, serial = f"nvme disk {number}", f"X86EMUN{number}"
        slots.add(Nvme(image, machine.dma, machine.in_ram, name=name, serial=serial))
