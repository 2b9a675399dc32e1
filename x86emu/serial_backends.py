"""Host ends of a serial port: this terminal, a file, a pseudo-terminal, a TCP connection, nothing.

A back end takes the guest's bytes at once and is asked now and then what has come in; the machine hands that to the
UART at a point of virtual time.  None of them blocks.
"""

from __future__ import annotations

import atexit
import errno
import os
import select
import socket
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from x86emu.errors import UserInputError

ESCAPE = 0x01  # Ctrl-A
READ_BYTES = 4096
HELP = (
    b"\r\nCtrl-A x  quit\r\nCtrl-A c  monitor, and back\r\nCtrl-A b  send a break\r\nCtrl-A a  send Ctrl-A\r\n"
    b"Ctrl-A h  this help\r\n"
)


class Prompt(Protocol):
    """What Ctrl-A c leads to."""

    def receive(self, data: bytes, /) -> object: ...

    def prompt(self) -> object: ...


class SerialBackend:
    """The one that is connected to nothing; base of the others."""

    description = "none"
    input_fd = -1  # readable when `poll` has something; -1 where nothing says so
    at_end = False  # nothing will come in any more
    interactive = False  # a person sits there

    def __init__(self) -> None:
        self.quit_requested = False
        self.break_requested = False

    def write(self, data: bytes) -> None:
        """Takes what the guest sends."""

    def descriptors(self) -> tuple[int, ...]:
        """What to wait for where nothing else is to be done."""
        return () if self.at_end else (self.input_fd,)

    def poll(self) -> bytes:
        """What has come in since the last call; never waits."""
        return b""

    def close(self) -> None:
        """Puts the host back as it was; may be called twice."""


def _write_all(descriptor: int, data: bytes) -> bool:
    """Writes to a descriptor that may not take everything at once; False where nobody is at the other end any more."""
    while data:
        try:
            data = data[os.write(descriptor, data) :]
        except BlockingIOError:
            select.select([], [descriptor], [])
        except OSError as error:
            if error.errno in (errno.EIO, errno.EPIPE):
                return False
            raise
    return True


class StdioBackend(SerialBackend):
    """Standard input and output; a terminal is put into raw mode, where Ctrl-A x quits (Ctrl-A h lists the others).

    `monitor` gets what is typed after Ctrl-A c, until the next one.
    """

    description = "stdio"

    def __init__(self, input_fd: int | None = None, output_fd: int | None = None) -> None:
        super().__init__()
        self.input_fd = 0 if input_fd is None else input_fd
        self.output_fd = 1 if output_fd is None else output_fd
        self.at_end = False
        self.monitor: Prompt | None = None
        self._in_monitor = False
        self._escaped = False
        self._saved: list[Any] | None = None
        try:
            self.interactive = os.isatty(self.input_fd)
        except OSError:
            self.interactive = False
        if self.interactive:
            self._enter_raw_mode()

    def _enter_raw_mode(self) -> None:
        import termios
        import tty

        self._saved = termios.tcgetattr(self.input_fd)
        atexit.register(self.close)
        tty.setraw(self.input_fd)

    def write(self, data: bytes) -> None:
        if not _write_all(self.output_fd, data):
            self.quit_requested = True  # as a program in a pipeline ends when its reader has gone

    def poll(self) -> bytes:
        if self.at_end:
            return b""
        try:
            ready, _, _ = select.select([self.input_fd], [], [], 0)
            if not ready:
                return b""
            data = os.read(self.input_fd, READ_BYTES)
        except (OSError, ValueError):
            self.at_end = True
            return b""
        if not data:
            self.at_end = True
        return self._unescape(data) if self.interactive else data

    def _unescape(self, data: bytes) -> bytes:
        kept, line = bytearray(), bytearray()  # for the guest, for the monitor
        for byte in data:
            target = line if self._in_monitor else kept
            if not self._escaped:
                if byte == ESCAPE:
                    self._escaped = True
                else:
                    target.append(byte)
                continue
            self._escaped = False
            if byte in b"xX":
                self.quit_requested = True
            elif byte in b"bB":
                self.break_requested = True
            elif byte in b"cC" and self.monitor is not None:
                self._hand_over(line)
                self._in_monitor = not self._in_monitor
                self.write(b"\r\n")
                if self._in_monitor:
                    self.monitor.prompt()
            elif byte in b"hH?":
                self.write(HELP)
            else:
                target.append(ESCAPE)
                if byte not in (ESCAPE, ord("a")):
                    target.append(byte)
        self._hand_over(line)
        return bytes(kept)

    def _hand_over(self, line: bytearray) -> None:
        if line and self.monitor is not None:
            self.monitor.receive(bytes(line))
            line.clear()

    def close(self) -> None:
        if self._saved is not None:
            import termios

            termios.tcsetattr(self.input_fd, termios.TCSADRAIN, self._saved)
            self._saved = None
            atexit.unregister(self.close)


class FileBackend(SerialBackend):
    """Writes what the guest sends to a file; nothing comes in."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.description = f"file:{path}"
        try:
            self._file = path.open("wb", buffering=0)
        except OSError as error:
            raise UserInputError(
                f"{path}: cannot be written ({error.strerror}); give a file in a directory that can be"
            ) from None

    def write(self, data: bytes) -> None:
        self._file.write(data)

    def close(self) -> None:
        self._file.close()


class PtyBackend(SerialBackend):
    """A new pseudo-terminal, whose name is told on standard error."""

    def __init__(self) -> None:
        super().__init__()
        import pty
        import tty

        try:
            self._master, self._slave = pty.openpty()
        except OSError as error:
            raise UserInputError(f"--serial pty: no pseudo-terminal is to be had ({error.strerror})") from None
        tty.setraw(self._slave)
        os.set_blocking(self._master, False)
        self.path = os.ttyname(self._slave)
        self.description = f"pty {self.path}"
        print(f"x86emu: the serial port is at {self.path}", file=sys.stderr, flush=True)

    def write(self, data: bytes) -> None:
        try:
            os.write(self._master, data)
        except BlockingIOError:
            pass  # nobody reads: as on a line without flow control, it is lost

    def poll(self) -> bytes:
        try:
            return os.read(self._master, READ_BYTES)
        except (BlockingIOError, OSError):
            return b""

    def close(self) -> None:
        for descriptor in (self._master, self._slave):
            try:
                os.close(descriptor)
            except OSError:
                pass


class TcpBackend(SerialBackend):
    """Listens at HOST:PORT; one connection at a time.  What the guest sends before anybody is there is kept."""

    KEPT_BYTES = 1 << 20

    def __init__(self, address: str) -> None:
        super().__init__()
        host, _, port = address.rpartition(":")
        if not port.isdigit() or not 0 <= int(port) <= 65535:
            raise UserInputError(f"--serial tcp:{address}: has no port number; tcp:127.0.0.1:4555 would do")
        try:
            self._listener = socket.create_server((host or "127.0.0.1", int(port)))
        except OSError as error:
            raise UserInputError(f"--serial tcp:{address}: cannot listen there ({error.strerror})") from None
        self._listener.setblocking(False)
        self.address = self._listener.getsockname()
        self.description = f"tcp {self.address[0]}:{self.address[1]}"
        self._peer: socket.socket | None = None
        self._kept = bytearray()
        print(f"x86emu: the serial port is at {self.description}", file=sys.stderr, flush=True)

    def _connect(self) -> None:
        try:
            self._peer, _ = self._listener.accept()
        except (BlockingIOError, OSError):
            return
        self._peer.setblocking(False)
        kept, self._kept = bytes(self._kept), bytearray()
        self.write(kept)

    def _drop(self) -> None:
        if self._peer is not None:
            self._peer.close()
            self._peer = None

    def write(self, data: bytes) -> None:
        if self._peer is None:
            self._kept += data
            del self._kept[: -self.KEPT_BYTES]
            return
        try:
            if not _write_all(self._peer.fileno(), data):
                self._drop()
        except OSError:
            self._drop()

    def poll(self) -> bytes:
        if self._peer is None:
            self._connect()
        if self._peer is None:
            return b""
        try:
            data = self._peer.recv(READ_BYTES)
        except BlockingIOError:
            return b""
        except OSError:
            data = b""
        if not data:
            self._drop()
        return data

    def close(self) -> None:
        self._drop()
        self._listener.close()


def open_backend(text: str, option: str = "--serial") -> SerialBackend:
    """The back end that ``option`` names; UserInputError where there is no such kind or it cannot be had."""
    kind, _, rest = text.partition(":")
    if text == "stdio":
        return StdioBackend()
    if text == "none":
        return SerialBackend()
    if text == "pty":
        return PtyBackend()
    if kind == "file" and rest:
        return FileBackend(Path(rest))
    if kind == "tcp" and rest:
        return TcpBackend(rest)
    raise UserInputError(f"{option} {text}: is no serial port; stdio, none, pty, file:NAME or tcp:HOST:PORT would do")


def open_backends(texts: Sequence[str], option: str) -> list[SerialBackend]:
    """Several of them; this process has one terminal only."""
    opened: list[SerialBackend] = []
    try:
        for text in texts:
            opened.append(open_backend(text, option))
    except BaseException:
        for backend in opened:
            backend.close()
        raise
    return opened
