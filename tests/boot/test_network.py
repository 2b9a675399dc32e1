"""Debian on each network card: DHCP, ping, HTTP from the host's loopback, a forwarded port; and the dump of it."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import http.server
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.boot.kit import PATIENCE, boot, guest

KERNELS = {
    "virtio": ("linux64.vmlinuz", "linux64-net.cpio.gz", "virtio_pci,virtio_net", "virtio_net"),
    "e1000": ("linux32.vmlinuz", "linux32-net.cpio.gz", "e1000", "e1000"),
    "ne2000": ("linux32.vmlinuz", "linux32-net.cpio.gz", "ne2k-pci", "ne2k-pci"),
}


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *arguments: object) -> None:
        pass


@contextlib.contextmanager
def web_server(directory: Path) -> Iterator[int]:
    """An HTTP server on the host's loopback; its port."""
    handler = functools.partial(_Quiet, directory=str(directory))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        return int(sock.getsockname()[1])


class Caller(threading.Thread):
    """Comes to a forwarded port until the guest answers, and answers it."""

    def __init__(self, port: int) -> None:
        super().__init__(daemon=True)
        self.port, self.heard, self.over = port, b"", False

    def run(self) -> None:
        while not self.heard and not self.over:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 5) as sock:
                self.heard = sock.recv(100)
                if self.heard:
                    sock.sendall(b"hello from the host\n")
            time.sleep(0.1)


@pytest.mark.parametrize("model", KERNELS)
def test_linux_on_the_user_network(model: str, tmp_path: Path) -> None:
    kernel, initrd, modules, driver = KERNELS[model]
    size = (8 << 20) if model == "virtio" else (1 << 20)
    data = hashlib.shake_128(b"network").digest(size)
    (tmp_path / "www").mkdir()
    (tmp_path / "www" / "file").write_bytes(data)
    dump = tmp_path / "dump.pcap"
    forwarded = free_port()
    caller = Caller(forwarded)
    caller.start()
    with web_server(tmp_path / "www") as port:
        run = boot(
            tmp_path, "--kernel", guest(kernel), "--initrd", guest(initrd),
            "--append", f"console=ttyS0 quiet gk.load={modules} gk.run=network"
            f" gk.url=http://10.0.2.2:{port}/file gk.listen=7000",
            "--net", f"user,model={model},hostname=guest,hostfwd=tcp::{forwarded}-:7000", "--pcap", dump,
        )  # fmt: skip
    caller.over = True
    caller.join(PATIENCE)
    name = initrd.removesuffix(".cpio.gz")
    lease = "lease 10.0.2.15 mask 255.255.255.0 router 10.0.2.2 dns 10.0.2.3 hostname guest boot "
    marks = [mark.strip() for mark in run.marks]
    assert run.code == 0 and f"{name} driver {driver}" in marks and f"{name} {lease}".strip() in marks, run
    assert f"{name} ping OK" in marks, run
    assert f"{name} file {hashlib.sha256(data).hexdigest()}" in marks, run
    assert f"{name} heard hello from the host" in marks, run
    assert caller.heard == f"hello from {name}\n".encode()
    assert "RX packets" not in run.serial or "errors:0" in run.serial, run
    check_dump(dump)


def check_dump(dump: Path) -> None:
    """tshark reads the dump and finds the protocols in it, nothing malformed."""
    if shutil.which("tshark") is None:
        pytest.skip("tshark is not installed, so the dump was not read back")
    done = subprocess.run(
        ["tshark", "-n", "-r", dump, "-T", "fields", "-e", "frame.protocols", "-e", "_ws.malformed",
         "-e", "ip.checksum.status", "-o", "ip.check_checksum:TRUE"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    rows = [line.split("\t") for line in done.stdout.splitlines()]
    protocols = {protocol for row in rows for protocol in row[0].split(":")}
    assert {"arp", "dhcp", "icmp", "tcp", "http"} <= protocols
    assert not [row for row in rows if row[1]]
    assert {row[2].split(",")[0] for row in rows if row[2]} <= {"1", "2"} and any(row[2] == "1" for row in rows)
