"""Host ends of the serial port: files, pipes, pseudo-terminals, TCP, and the escape key of the terminal."""

from __future__ import annotations

import os
import socket
import termios
from pathlib import Path

import pytest

from x86emu.errors import UserInputError
from x86emu.serial_backends import FileBackend, PtyBackend, SerialBackend, StdioBackend, TcpBackend, open_backend


def test_file_takes_output_and_gives_nothing(tmp_path: Path) -> None:
    backend = FileBackend(tmp_path / "log")
    backend.write(b"hello")
    assert backend.poll() == b""
    assert (tmp_path / "log").read_bytes() == b"hello"
    backend.close()


def test_stdio_on_pipes_passes_bytes_untouched() -> None:
    to_guest_read, to_guest_write = os.pipe()
    from_guest_read, from_guest_write = os.pipe()
    backend = StdioBackend(to_guest_read, from_guest_write)
    assert not backend.interactive and backend.poll() == b""
    os.write(to_guest_write, b"ls\x01x\n")
    assert backend.poll() == b"ls\x01x\n" and not backend.quit_requested
    backend.write(b"out")
    assert os.read(from_guest_read, 10) == b"out"
    os.close(to_guest_write)
    assert backend.poll() == b"" and backend.at_end
    for descriptor in (to_guest_read, from_guest_read, from_guest_write):
        os.close(descriptor)


def test_terminal_is_raw_while_running_and_restored_after() -> None:
    master, slave = os.openpty()
    before = termios.tcgetattr(slave)
    backend = StdioBackend(slave, slave)
    assert backend.interactive and not termios.tcgetattr(slave)[3] & termios.ICANON
    os.write(master, b"a\x01\x01b\x01")
    assert backend.poll() == b"a\x01b"
    os.write(master, b"bc\x01x")
    assert backend.poll() == b"c"
    assert backend.break_requested and backend.quit_requested
    backend.close()
    backend.close()
    assert termios.tcgetattr(slave) == before
    os.close(master)
    os.close(slave)


def test_pty_has_two_ends(capsys: pytest.CaptureFixture[str]) -> None:
    backend = PtyBackend()
    assert backend.path in capsys.readouterr().err
    peer = os.open(backend.path, os.O_RDWR | os.O_NOCTTY)
    backend.write(b"boot\n")
    assert os.read(peer, 10) == b"boot\n"
    os.write(peer, b"key")
    assert backend.poll() == b"key"
    os.close(peer)
    backend.close()
    backend.close()


def test_tcp_keeps_what_came_before_the_connection(capsys: pytest.CaptureFixture[str]) -> None:
    backend = TcpBackend("127.0.0.1:0")
    backend.write(b"early ")
    assert backend.poll() == b""
    peer = socket.create_connection(backend.address[:2])
    peer.sendall(b"typed")
    received = b""
    for _ in range(1000):
        received += backend.poll()
        if received == b"typed":
            break
    backend.write(b"late")
    assert received == b"typed"
    data = b""
    while len(data) < 10:
        data += peer.recv(10)
    assert data == b"early late"
    peer.close()
    backend.close()
    assert "127.0.0.1" in capsys.readouterr().err


def test_reader_that_went_away_ends_the_run() -> None:
    input_read, input_write = os.pipe()
    output_read, output_write = os.pipe()
    backend = StdioBackend(input_read, output_write)
    os.close(output_read)
    backend.write(b"lost")
    assert backend.quit_requested
    for descriptor in (input_read, input_write, output_write):
        os.close(descriptor)


@pytest.mark.parametrize("text", ["modem", "file:", "tcp:", "stdio:1", ""])
def test_unknown_kinds(text: str) -> None:
    with pytest.raises(UserInputError, match="stdio, none, pty, file:NAME or tcp:HOST:PORT would do"):
        open_backend(text)


def test_what_cannot_be_had(tmp_path: Path) -> None:
    with pytest.raises(UserInputError, match="has no port number; tcp:127.0.0.1:4555 would do"):
        open_backend("tcp:localhost")
    with pytest.raises(UserInputError, match="cannot be written"):
        open_backend(f"file:{tmp_path}/none/log")
    assert type(open_backend("none")) is SerialBackend
