"""Debian on every kind of disk controller: SeaBIOS boots from it, Linux drives it; raw and qcow2."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.boot.kit import boot, guest
from x86emu.storage import create_image
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


@pytest.mark.parametrize("interface", ["virtio", "nvme"])
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
