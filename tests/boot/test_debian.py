"""A whole Debian with systemd lives in the machine: from IDE under DMA and from virtio-blk to its login prompt, what a
person does there, and an intact file system and image afterwards."""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.boot.kit import guest
from tests.boot.terminal import Terminal
from tests.boot.test_network import web_server
from x86emu.storage import create_image

PROMPT = "root@debian:~# "
PAYLOAD = hashlib.sha256(hashlib.shake_128(b"x86emu").digest(64 << 20)).hexdigest()
PROGRAM = r"""
#include <stdio.h>
int main(void) { double sum = 0; for (int i = 1; i <= 1000; i++) sum += 1.0 / i; printf("sum %.6f\n", sum); return 0; }
"""
PARTITION_OFFSET = 2048 * 512

pytestmark = pytest.mark.slow


def tool(name: str) -> str:
    path = shutil.which(name, path="/usr/sbin:/sbin:/usr/bin:/bin")
    if path is None:
        pytest.skip(f"{name} is not installed; `make test-slow` installs it")
    return path


def package_index(directory: Path) -> None:
    """A repository of one package, without the package: what apt-get update reads."""
    packages = (
        b"Package: x86emu-greeting\nVersion: 4.2\nArchitecture: all\nMaintainer: Nobody <nobody@example.org>\n"
        b"Filename: ./greeting.deb\nSize: 1\nSHA256: " + hashlib.sha256(b"x").hexdigest().encode() + b"\n"
        b"Description: a greeting\n\n"
    )
    (directory / "Packages").write_bytes(packages)
    (directory / "Release").write_text(
        "Suite: test\nDate: Wed, 01 Jan 2025 00:00:00 UTC\nSHA256:\n"
        f" {hashlib.sha256(packages).hexdigest()} {len(packages)} Packages\n"
    )


@pytest.fixture
def index(tmp_path: Path) -> Iterator[int]:
    directory = tmp_path / "www"
    directory.mkdir()
    package_index(directory)
    with web_server(directory) as port:
        yield port


@pytest.mark.parametrize("interface", ["ide", "virtio"])
def test_debian_from_boot_to_power_off(
    interface: str, index: int, tmp_path: Path, record_property: pytest.RecordProperty
) -> None:
    base, disk = guest("debian.img"), tmp_path / "debian.qcow2"
    create_image(disk, backing_file=str(base), backing_format="raw")
    begin = time.monotonic()
    terminal = Terminal(
        "--disk", f"{disk},if={interface}", "--memory", "512M", "--net", "user,model=virtio",
    )  # fmt: skip

    def run(command: str) -> str:
        """A command's output, up to the next prompt, without control sequences."""
        terminal.type(command + "\n")
        terminal.wait_for("\n")
        return re.sub(r"\x1b\[[?;\d]*[A-Za-z]", "", terminal.wait_for(PROMPT))

    try:
        terminal.wait_for("debian login: ")
        record_property("figure", f"Debian to its login prompt from {interface}: {time.monotonic() - begin:.1f} s")
        terminal.type("root\n")
        terminal.wait_for(PROMPT)
        if interface == "ide":
            assert "DMA" in run("cat /sys/class/ata_device/*/dma_mode")
        root = "/dev/sda1" if interface == "ide" else "/dev/vda1"
        assert root in run("findmnt -no SOURCE /")
        assert int(run("dpkg -l | wc -l").split()[0]) > 120
        assert PAYLOAD in run("sha256sum payload")
        run("cat > sum.c <<'END'" + PROGRAM + "END")
        assert "sum 7.485471" in run("gcc -O1 sum.c -o sum && ./sum")
        run("until ip -4 address | grep -q 10.0.2; do sleep 1; done")
        run(f"echo 'deb [trusted=yes] http://10.0.2.2:{index} ./' > /etc/apt/sources.list")
        assert "Reading package lists" in (said := run("apt-get update")), said
        assert "Err:" not in said and "W:" not in said, said
        assert "Candidate: 4.2" in run("apt-cache policy x86emu-greeting")
        assert "running" in run("systemctl is-system-running --wait")
        terminal.type("poweroff\n")
        assert terminal.exit_code() == 0
    finally:
        terminal.close()
    subprocess.run([tool("qemu-img"), "check", disk], check=True)
    raw = tmp_path / "debian.raw"
    subprocess.run([tool("qemu-img"), "convert", "-O", "raw", disk, raw], check=True)
    found = subprocess.run(
        [tool("e2fsck"), "-fn", f"{raw}?offset={PARTITION_OFFSET}"], capture_output=True, text=True, check=False
    )
    assert found.returncode == 0, found.stdout + found.stderr
