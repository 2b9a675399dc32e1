"""iPXE from its CD: it gets an address and boots Debian's kernel from the host."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.boot.kit import boot, guest
from tests.boot.test_network import web_server

pytestmark = pytest.mark.slow  # iPXE's delays poll the timer, some ten million times


def fill(directory: Path, where: str) -> None:
    """What iPXE is to fetch."""
    directory.mkdir()
    for name in ("linux64.vmlinuz", "linux64.cpio.gz"):
        shutil.copy(guest(name), directory / name)
    (directory / "boot.ipxe").write_text(
        f"#!ipxe\nkernel {where}/linux64.vmlinuz console=ttyS0 quiet\ninitrd {where}/linux64.cpio.gz\nboot\n"
    )


@pytest.mark.parametrize("model", ["e1000", "virtio", "ne2000"])
def test_the_cd_boots_linux_over_http(model: str, tmp_path: Path) -> None:
    with web_server(tmp_path / "www") as port:
        fill(tmp_path / "www", f"http://10.0.2.2:{port}")
        run = boot(
            tmp_path, "--cdrom", guest("ipxe.iso"), "--boot", "d",
            "--net", f"user,model={model},bootfile=http://10.0.2.2:{port}/boot.ipxe",
        )  # fmt: skip
    assert run.code == 0 and "linux64 end=poweroff" in run.marks, run
