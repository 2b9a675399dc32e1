"""What `--display` names: nothing, the screen in this terminal, or a page for a browser.

`TextDisplay` shares the terminal between the screen and lines of text (the serial line, and what else is added): Ctrl-A
c goes from one to the next.  The terminal is put back on every way out.
"""

from __future__ import annotations

import atexit
import os
import select
import sys
import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from x86emu.display.terminal_keys import TerminalKeys
from x86emu.errors import UserInputError
from x86emu.serial_backends import SerialBackend

if TYPE_CHECKING:
    from x86emu.display.web.server import WebDisplay
    from x86emu.machine import Machine

PREFIX = 0x01  # Ctrl-A
READ_BYTES = 4096
DRAW_SECONDS = 0.04
LARGEST_SHARE = 8  # drawing takes at most an eighth of the host's time
KEPT_BYTES = 1 << 16
ENTER_SCREEN = "\x1b[?1049h\x1b[2J\x1b[H"
LEAVE_SCREEN = "\x1b[0m\x1b[?25h\x1b[?1049l"
HELP = "Ctrl-A x  quit    Ctrl-A c  next: {views}    Ctrl-A a  send Ctrl-A    Ctrl-A h  this help"


class TextLine:
    """A line of text in the shared terminal: what is written to it is kept, and seen while it is on."""

    def __init__(self, display: TextDisplay, title: str, receive: Callable[[bytes], object]) -> None:
        self._display = display
        self.title = title
        self.receive = receive
        self.kept = bytearray()

    def write(self, data: bytes) -> None:
        """Shows `data`, or keeps it until the line is on."""
        self.kept += data
        if len(self.kept) > 2 * KEPT_BYTES:
            del self.kept[:-KEPT_BYTES]
        if self._display.active is self:
            self._display.write(data)


class SharedSerial(SerialBackend):
    """The serial port's end in the shared terminal."""

    description = "the terminal of --display text"

    def __init__(self, display: TextDisplay) -> None:
        super().__init__()
        self._typed = bytearray()
        self._line = display.add_line("serial line", self._typed.extend)

    def write(self, data: bytes) -> None:
        self._line.write(data)

    def poll(self) -> bytes:
        data = bytes(self._typed)
        self._typed.clear()
        return data


class TextDisplay:
    """The machine's screen in a terminal, with its keys; a service of the host's side."""

    def __init__(self, machine: Machine, input_fd: int = 0, output_fd: int = 1) -> None:
        import termios
        import tty

        from x86emu.display.cells import CellDisplay

        self._machine = machine
        self._input_fd, self._output_fd = input_fd, output_fd
        self._cells = CellDisplay()
        self._keys = TerminalKeys()
        self._lines: list[TextLine] = []
        self.active: TextLine | None = None  # None is the screen
        self._prefixed = self._quit = self._at_end = False
        self._quiet_since: float | None = None
        self._next_draw = 0.0
        self._drawn: object = None
        self._size_drawn = (0, 0)
        self._closed = False
        self._saved: list[Any] = termios.tcgetattr(input_fd)
        atexit.register(self.close)
        tty.setraw(input_fd)
        self.write(ENTER_SCREEN.encode())

    @staticmethod
    def possible(input_fd: int = 0, output_fd: int = 1) -> bool:
        """Whether both are a terminal."""
        try:
            return os.isatty(input_fd) and os.isatty(output_fd)
        except OSError:
            return False

    def add_line(self, title: str, receive: Callable[[bytes], object]) -> TextLine:
        """A further thing that Ctrl-A c comes to; `receive` gets what is typed there."""
        line = TextLine(self, title, receive)
        self._lines.append(line)
        return line

    def write(self, data: bytes) -> None:
        """Writes to the terminal."""
        while data:
            try:
                data = data[os.write(self._output_fd, data) :]
            except BlockingIOError:
                select.select([], [self._output_fd], [])
            except OSError:  # the terminal has gone
                self._quit = True
                return

    # --- the run loop's side

    def descriptors(self) -> Iterable[int]:
        """The terminal."""
        return [] if self._at_end else [self._input_fd]

    @property
    def waiting(self) -> bool:
        """A person sits there."""
        return True

    def poll(self) -> bool:
        """Takes in keys and draws what has changed; True where the user wants to quit."""
        data = self._read()
        typed = self._unescape(data)
        if self.active is None:
            chords = self._keys.feed(typed)
            # A lone Escape: half a sequence could still be on its way, but not for this long.
            if typed:
                self._quiet_since = time.monotonic()
            elif self._quiet_since is not None and time.monotonic() - self._quiet_since > DRAW_SECONDS:
                chords += self._keys.flush()
                self._quiet_since = None
            for chord in chords:
                self._machine.keyboard.send_keys(chord)
            self._draw()
        elif typed:
            self.active.receive(typed)
        return self._quit

    def close(self) -> None:
        """Puts the terminal back; may be called twice."""
        if self._closed:
            return
        import termios

        self._closed = True
        if self.active is None:
            self.write(LEAVE_SCREEN.encode())
        try:
            termios.tcsetattr(self._input_fd, termios.TCSADRAIN, self._saved)
        except termios.error:
            pass  # the terminal has gone
        atexit.unregister(self.close)

    def _read(self) -> bytes:
        if self._at_end:
            return b""
        try:
            if not select.select([self._input_fd], [], [], 0)[0]:
                return b""
            data = os.read(self._input_fd, READ_BYTES)
        except (OSError, ValueError):
            data = b""
        if not data:
            self._at_end = self._quit = True  # the terminal was closed
        return data

    def _unescape(self, data: bytes) -> bytes:
        kept = bytearray()
        for byte in data:
            if not self._prefixed:
                if byte == PREFIX:
                    self._prefixed = True
                else:
                    kept.append(byte)
                continue
            self._prefixed = False
            if byte in b"xX":
                self._quit = True
            elif byte in b"cC":
                self._next_view()
            elif byte in b"hH?":
                self._help()
            elif byte in (PREFIX, ord("a")):
                kept.append(PREFIX)
            else:
                kept += bytes((PREFIX, byte))
        return bytes(kept)

    # --- views

    def _next_view(self) -> None:
        views: list[TextLine | None] = [None, *self._lines]
        before, self.active = self.active, views[(views.index(self.active) + 1) % len(views)]
        if self.active is None:
            self.write(ENTER_SCREEN.encode())
            self._cells.forget()
            self._drawn = None
            return
        if before is None:
            self.write(LEAVE_SCREEN.encode())
        self.write(f"\r\n\x1b[0m[{self.active.title}; Ctrl-A c goes on, Ctrl-A x quits]\r\n".encode())
        self.write(bytes(self.active.kept))

    def _help(self) -> None:
        text = HELP.format(views=", ".join(["screen", *(line.title for line in self._lines)]))
        if self.active is not None:
            self.write(f"\r\n{text}\r\n".encode())
            return
        self.write(f"\x1b[0;7m\x1b[{self._size()[1]};1H{text}\x1b[0m".encode())
        self._cells.forget()  # what it covers is drawn again with the next change
        self._next_draw = time.monotonic() + 3

    def _size(self) -> tuple[int, int]:
        """Columns and rows of the terminal; what is usual where it does not say."""
        try:
            size = os.get_terminal_size(self._output_fd)
        except OSError:
            return 80, 25
        return size.columns or 80, size.lines or 25

    def _draw(self) -> None:
        now = time.monotonic()
        if now < self._next_draw:
            return
        columns, rows = self._size()
        if (columns, rows) != self._size_drawn:  # what a terminal does with its text when it is resized is its own
            self._size_drawn = (columns, rows)
            self._cells.forget()
        from x86emu.display.cells import picture_cells, text_cells

        screen = self._machine.screen
        text = screen.cells()
        if text is not None:
            drawn: object = (text, columns, rows)
            if drawn != self._drawn:
                cells = text_cells(text.lines, text.attributes, blink=text.blink)
                self.write(self._cells.update(cells, text.cursor, columns, rows).encode())
                self._drawn = drawn
        else:
            self._drawn = None
            cells = picture_cells(screen.picture(0).pixels, columns, rows)
            self.write(self._cells.update(cells, None, columns, rows).encode())
        self._next_draw = now + max(DRAW_SECONDS, (time.monotonic() - now) * LARGEST_SHARE)


def open_web(machine: Machine, port: int) -> WebDisplay:
    """The page for a browser, with the machine's serial line beside the screen; its address goes to standard error.

    UserInputError where the package that it needs is not installed, or the port cannot be had.
    """
    try:
        from x86emu.display.web.server import WebDisplay
    except ModuleNotFoundError as error:
        if error.name is None or not error.name.startswith("websockets"):
            raise
        raise UserInputError(
            "--display web: needs the Python package websockets, which is not installed; `pip install websockets` or"
            " x86emu's extra `web` would do"
        ) from None
    display = WebDisplay(
        lambda: machine.screen.picture().pixels, machine.keyboard, machine.mouse, machine.serial.send, port=port
    )
    display.receive_output(bytes(machine.serial.output))
    machine.serial.listeners.append(display.receive_output)
    print(f"x86emu: the screen is at {display.url}", file=sys.stderr, flush=True)
    return display


def web_port(kind: str) -> int:
    """The port of "web" (0: a free one) or "web:PORT".  UserInputError where that is no port."""
    _, colon, text = kind.partition(":")
    if not colon:
        return 0
    if not text.isascii() or not text.isdigit() or not 0 < int(text) <= 65535:
        raise UserInputError(f"--display {kind}: {text!r} is no port; web, or web:8080 would do")
    return int(text)
