"""Debian on every kind of disk controller: SeaBIOS boots from it, Linux drives it; raw and qcow2."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.boot.kit import boot, guest
from x86emu.devices.floppy_drive import FORMATS, FloppyFormat
from x86emu.storage import create_image, open_image
from x86emu.storage.convert import convert

FILE_SYSTEM = "vfat,nls_cp437,nls_iso8859-1,nls_ascii"


@pytest.mark.parametrize("format", ["raw", "qcow2"])
def test_linux_reads_a_virtio_disk(format: str, tmp_path: Path) -> None:
    image = guest("linux64-fat.img")
    if format == "qcow2":
        base, image = image, tmp_path / "disk.qcow2"
        convert(base, tmp_path / "base.qcow2", target_format="qcow2")
        create_image(image, backing_file="base.qcow2")
    run = boot(
        tmp_path, "--kernel", guest("linux64.vmlinuz"), "--initrd", guest("linux64-disk.cpio.gz"),
        "--append", f"console=ttyS0 gk.load=virtio_pci,virtio_blk,virtio_rng,{FILE_SYSTEM} gk.disk=vda1 gk.info",
        "--disk", f"{image},if=virtio,snapshot", "--rng",
    )  # fmt: skip
    assert run.code == 0 and "linux64-disk disk vda1 OK" in run.marks, run
    mmio = run.counters["mmio"]
    assert isinstance(mmio, dict) and mmio["virtio disk 0"]["writes"] > 100 and mmio["virtio-rng"]["writes"] > 20
    assert "PCI-MSI" in run.serial and "virtio0-req.0" in run.serial, run


@pytest.mark.parametrize("interface", ["virtio", "nvme", "ahci", "scsi"])
def test_seabios_boots_from_it(interface: str, tmp_path: Path) -> None:
    disk = f"{guest('linux64-fat.img')},if={interface},snapshot"
    run = boot(tmp_path, "--disk", disk, "--boot", "c", "--expect", "GK-MARK linux64-disk booted")
    assert run.code == 0, run


def test_linux_reads_an_nvme_disk(tmp_path: Path) -> None:
    run = boot(
        tmp_path, "--kernel", guest("linux64.vmlinuz"), "--initrd", guest("linux64-disk.cpio.gz"),
        "--append", f"console=ttyS0 gk.load={FILE_SYSTEM} gk.disk=nvme0n1p1 gk.info",
        "--disk", f"{guest('linux64-fat.img')},if=nvme,snapshot",
    )  # fmt: skip
    assert run.code == 0 and "linux64-disk disk nvme0n1p1 OK" in run.marks, run
    assert "PCI-MSI" in run.serial and "nvme0q1" in run.serial, run


def test_libata_uses_dma(tmp_path: Path) -> None:
    run = boot(
        tmp_path, "--kernel", guest("linux64.vmlinuz"), "--initrd", guest("linux64-disk.cpio.gz"),
        "--append", f"console=ttyS0 gk.load=ata_piix,sd_mod,{FILE_SYSTEM} gk.disk=sda1",
        "--disk", f"{guest('linux64-fat.img')},snapshot",
    )  # fmt: skip
    assert run.code == 0 and "linux64-disk disk sda1 OK" in run.marks, run
    ports = run.counters["ports"]
    assert isinstance(ports, dict)
    # The file system's data would be some hundred thousand words of PIO.
    assert ports["PIIX3 IDE bus master"]["writes"] > 100, ports
    assert ports["ATA primary"]["reads"] < 20_000, ports


def test_linux_on_virtio_scsi_disk_and_cdrom(tmp_path: Path) -> None:
    run = boot(
        tmp_path, "--kernel", guest("linux64.vmlinuz"), "--initrd", guest("linux64-disk.cpio.gz"),
        "--append", "console=ttyS0 gk.load=virtio_pci,virtio_scsi,sd_mod,sr_mod,isofs gk.disk=sr0",
        "--disk", f"{guest('linux64-fat.img')},if=scsi,snapshot", "--cdrom", f"{guest('linux64.iso')},if=scsi",
    )  # fmt: skip
    assert run.code == 0 and "linux64-disk disk sr0 OK" in run.marks, run
    assert "100352 512-byte logical blocks" in run.serial


def test_linux_on_ahci_disk_and_cdrom(tmp_path: Path) -> None:
    run = boot(
        tmp_path, "--kernel", guest("linux32-pae.vmlinuz"), "--initrd", guest("linux32-pae-disk.cpio.gz"),
        "--append", f"console=ttyS0 gk.load=ahci,sd_mod,sr_mod,{FILE_SYSTEM} gk.disk=sda1",
        "--disk", f"{guest('linux32-fat.img')},if=ahci,snapshot", "--cdrom", f"{guest('linux32.iso')},if=ahci",
    )  # fmt: skip
    assert run.code == 0 and "linux32-pae-disk disk sda1 OK" in run.marks, run
    assert "NCQ (depth 32)" in run.serial and "[sr0] scsi3-mmc drive" in run.serial


def test_seabios_and_syslinux_from_a_floppy(tmp_path: Path) -> None:
    disk = f"{guest('floppy.img')},readonly"
    run = boot(tmp_path, "--floppy", disk, "--boot", "a", "--expect", "GK-MARK floppy file read")
    assert run.code == 0, run


def test_linux_reads_and_writes_a_floppy(tmp_path: Path) -> None:
    floppy = tmp_path / "blank.img"
    floppy.write_bytes(bytes(2880 * 512))
    run = boot(
        tmp_path, "--kernel", guest("linux32.vmlinuz"), "--initrd", guest("linux32-disk.cpio.gz"),
        "--append", f"console=ttyS0 gk.load=floppy,{FILE_SYSTEM} gk.disk=fd0 gk.write=fd1",
        "--floppy", f"{guest('floppy.img')},readonly", "--floppy", floppy,
    )  # fmt: skip
    assert run.code == 0 and "linux32-disk disk fd0 OK" in run.marks, run
    assert f"linux32-disk wrote {hashlib.sha256(floppy.read_bytes()).hexdigest()}" in run.marks, run
    assert any(floppy.read_bytes()[1000 * 512 :])


WRITERS = {
    "ide": ("linux64", "linux64-disk", "ata_piix,sd_mod", "sda"),
    "virtio": ("linux64", "linux64-disk", "virtio_pci,virtio_blk", "vda"),
    "nvme": ("linux64", "linux64-disk", "", "nvme0n1"),
    "scsi": ("linux64", "linux64-disk", "virtio_pci,virtio_scsi,sd_mod", "sda"),
    "ahci": ("linux32-pae", "linux32-pae-disk", "ahci,sd_mod", "sda"),
}


@pytest.mark.slow
@pytest.mark.parametrize("interface", WRITERS)
def test_qcow2_that_linux_wrote_is_intact(interface: str, tmp_path: Path) -> None:
    kernel, initrd, modules, device = WRITERS[interface]
    disk = tmp_path / "disk.qcow2"
    create_image(disk, size=64 << 20, format="qcow2")
    run = boot(
        tmp_path, "--kernel", guest(f"{kernel}.vmlinuz"), "--initrd", guest(f"{initrd}.cpio.gz"),
        "--append", f"console=ttyS0 gk.load={modules} gk.write={device}", "--disk", f"{disk},if={interface}",
    )  # fmt: skip
    assert run.code == 0 and not [mark for mark in run.marks if "FAILED" in mark], run
    image = open_image(disk, read_only=True)
    written = image.read(0, (16 << 20) // 512)
    image.close()
    assert any(written) and f"{initrd} wrote {hashlib.sha256(written).hexdigest()}" in run.marks, run
    if (qemu_img := shutil.which("qemu-img")) is not None:
        subprocess.run([qemu_img, "check", disk], check=True)


# SeaBIOS takes no more sectors in a track than the drive's own format has.
USUAL = [format for format in FORMATS if format.name not in ("1.68M", "1.72M")]


@pytest.mark.parametrize("format", USUAL, ids=lambda format: format.name)
def test_firmware_reads_the_last_sector_of_every_usual_floppy_format(format: FloppyFormat, tmp_path: Path) -> None:
    """A boot sector asks INT 13h for it and ends the run with its first byte."""
    read_last = bytes.fromhex("31c0 8ec0 8ed8 b80102 bb007e b9") + bytes((format.sectors, format.cylinders - 1))
    read_last += b"\xba\0" + bytes((format.heads - 1,)) + bytes.fromhex("cd13 7205 a0007e eb02 b000 e6f4 f4 ebfd")
    image = bytearray(format.total * 512)
    image[:512] = read_last.ljust(510, b"\0") + b"\x55\xaa"
    image[-512] = 0x2A
    floppy = tmp_path / "floppy.img"
    floppy.write_bytes(image)
    run = boot(tmp_path, "--floppy", f"{floppy},snapshot", "--boot", "a", "--debug-exit")
    assert run.code == 2 * 0x2A + 1, run
