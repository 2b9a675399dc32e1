"""Sessions of the monitor: at a terminal with editing, or plain lines for scripts; and the sockets they come by."""

from __future__ import annotations

import contextlib
import os
import socket
import stat
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from x86emu.errors import UserInputError, X86EmuError
from x86emu.monitor.commands import Context, completions, execute
from x86emu.monitor.line_editor import LineEditor
from x86emu.serial_backends import SerialBackend, StdioBackend

if TYPE_CHECKING:
    from x86emu.machine import Machine

PROMPT = "(x86emu) "
GREETING = "x86emu monitor; help lists the commands."
LONGEST_LINE = 1 << 16
READ_BYTES = 4096


class MonitorSession:
    """One prompt.  `receive(bytes)` is what is typed; `write(bytes)` shows; `editing` is for terminals in raw mode."""

    def __init__(self, machine: Machine, write: Callable[[bytes], object], *, editing: bool) -> None:
        self.context = Context(machine)
        self.write = write
        self.editor = LineEditor(PROMPT, write, lambda text: completions(self.context, text)) if editing else None
        self._line = b""

    def show(self, text: str) -> None:
        """Writes lines."""
        if text:
            end = b"\r\n" if self.editor is not None else b"\n"
            self.write(end.join(line.encode("utf-8", "replace") for line in text.split("\n")) + end)

    def start(self) -> None:
        """Greets and prompts."""
        self.show(GREETING)
        self.prompt()

    def prompt(self) -> None:
        """Shows the prompt, with what has been typed."""
        if self.editor is not None:
            self.editor.show()
        else:
            self.write(PROMPT.encode())

    def receive(self, data: bytes) -> None:
        """Takes what was typed and does the lines that are complete."""
        if self.editor is not None:
            lines = self.editor.feed(data)
        else:
            *complete, self._line = (self._line + data).split(b"\n")
            self._line = self._line[-LONGEST_LINE:]
            lines = [line.decode("utf-8", "replace").rstrip("\r") for line in complete]
        for line in lines:
            self.show(self.answer(line))
            self.prompt()

    def answer(self, line: str) -> str:
        """What a command says; where it cannot be done, the sentence why."""
        try:
            return execute(self.context, line)
        except X86EmuError as error:
            return str(error)
        except OSError as error:
            return f"{error.filename or line}: {error.strerror or error}"


class BackendMonitor:
    """A session at a serial back end of its own, as a service of the machine: --monitor stdio."""

    def __init__(self, machine: Machine, backend: SerialBackend) -> None:
        self.backend = backend
        self.session = MonitorSession(machine, backend.write, editing=backend.interactive)
        self.session.start()

    def poll(self) -> bool:
        self.session.receive(self.backend.poll())
        return self.backend.quit_requested

    def descriptors(self) -> Iterable[int]:
        return self.backend.descriptors()

    @property
    def waiting(self) -> bool:
        return self.backend.interactive

    def close(self) -> None:
        self.backend.close()


class SocketMonitor:
    """Sessions by a listening socket, any number at a time, as a service of the machine."""

    LARGEST_BACKLOG = 1 << 22  # of answers that a client does not read, after which it is dropped

    def __init__(self, machine: Machine, listener: socket.socket, path: Path | None = None) -> None:
        self._machine = machine
        self._listener = listener
        self._path = path
        self._sessions: dict[socket.socket, tuple[MonitorSession, bytearray]] = {}
        listener.setblocking(False)

    def poll(self) -> bool:
        with contextlib.suppress(BlockingIOError, OSError):
            while True:
                peer, _ = self._listener.accept()
                peer.setblocking(False)
                waiting = bytearray()
                session = MonitorSession(self._machine, waiting.extend, editing=False)
                self._sessions[peer] = session, waiting
                session.start()
        for peer, (session, waiting) in list(self._sessions.items()):
            try:
                data = peer.recv(READ_BYTES)
                session.receive(data)
                gone = not data
            except BlockingIOError:
                gone = False
            except OSError:
                gone = True
            try:
                if waiting:
                    del waiting[: peer.send(waiting)]
            except BlockingIOError:
                gone = gone or len(waiting) > self.LARGEST_BACKLOG
            except OSError:
                gone = True
            if gone:
                peer.close()
                del self._sessions[peer]
        return False

    def descriptors(self) -> Iterable[int]:
        return [self._listener.fileno(), *(peer.fileno() for peer in self._sessions)]

    @property
    def waiting(self) -> bool:
        return False

    def close(self) -> None:
        for peer, (_, waiting) in self._sessions.items():
            with contextlib.suppress(OSError):
                peer.send(waiting)
            peer.close()
        self._sessions.clear()
        self._listener.close()
        if self._path is not None:
            with contextlib.suppress(OSError):
                self._path.unlink()
            self._path = None


def open_monitor(machine: Machine, text: str) -> BackendMonitor | SocketMonitor:
    """The service that ``--monitor`` names: stdio, tcp:HOST:PORT, unix:PATH.  UserInputError where it cannot be had."""
    kind, _, rest = text.partition(":")
    if text == "stdio":
        return BackendMonitor(machine, StdioBackend())
    try:
        if kind == "tcp" and rest:
            host, _, port = rest.rpartition(":")
            if not port.isdigit() or int(port) > 0xFFFF:
                raise UserInputError(f"--monitor {text}: has no port number; tcp:127.0.0.1:4444 would do")
            listener = socket.create_server((host or "127.0.0.1", int(port)))
            print(f"x86emu: the monitor is at tcp {':'.join(map(str, listener.getsockname()[:2]))}", file=sys.stderr,
                  flush=True)  # fmt: skip
            return SocketMonitor(machine, listener)
        if kind == "unix" and rest:
            path = Path(rest)
            with contextlib.suppress(FileNotFoundError):
                if stat.S_ISSOCK(path.stat().st_mode):
                    path.unlink()  # left by a run before
            listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            mask = os.umask(0o077)
            try:
                listener.bind(rest)
            except OSError:
                listener.close()
                raise
            finally:
                os.umask(mask)
            listener.listen()
            return SocketMonitor(machine, listener, path)
    except OSError as error:
        raise UserInputError(f"--monitor {text}: cannot listen there ({error.strerror or error})") from None
    raise UserInputError(f"--monitor {text}: is no place for a monitor; stdio, tcp:HOST:PORT or unix:PATH would do")
