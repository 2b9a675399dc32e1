"""What a person sees of a machine: serial port, debug console, VGA text screen; and the watch for expected text."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from x86emu.display import AdapterState, VbeMode

if TYPE_CHECKING:
    from x86emu.display import Picture
    from x86emu.serial_backends import SerialBackend

Listener = Callable[[bytes], object]


class TextWatch:
    """Looks for a text in streams that come in pieces; calls `found` the first time it is complete.

    Line ends are taken as they are but for a carriage return before a line feed, which is dropped on both sides.
    """

    def __init__(self, text: str, found: Callable[[], object]) -> None:
        self.wanted = text.encode().replace(b"\r\n", b"\n")
        self.found = found
        self.seen = False

    def stream(self) -> Listener:
        """A listener of its own for one stream, so that two streams do not mix."""
        tail = b""

        def listen(data: bytes) -> None:
            nonlocal tail
            tail += data.replace(b"\r", b"")
            self.look_at(tail)
            tail = tail[-len(self.wanted) :]

        return listen

    def look_at(self, data: bytes) -> None:
        """Looks at a piece of text on its own."""
        if not self.seen and self.wanted in data:
            self.seen = True
            self.found()


class Console:
    """Collects what the guest writes and passes it on to listeners."""

    def __init__(self) -> None:
        self.output = bytearray()
        self.listeners: list[Listener] = []

    @property
    def text(self) -> str:
        """All output so far, line ends as line feeds."""
        return self.output.decode("utf-8", "replace").replace("\r\n", "\n")

    def receive_output(self, data: bytes) -> None:
        """Takes bytes from the guest."""
        self.output += data
        for listener in self.listeners:
            listener(data)


class Receiver(Protocol):
    """What a serial console needs of the UART."""

    def receive(self, data: bytes, /) -> object: ...

    def receive_break(self) -> object: ...


class SerialConsole(Console):
    """A serial port's host side: `text`, `output`, `send()`; a back end may be attached.

    Every input is recorded with the virtual time at which the UART got it: `inputs` is what a replay needs.
    """

    def __init__(self, uart: Receiver, now: Callable[[], int]) -> None:
        super().__init__()
        self.uart = uart
        self.now = now
        self.inputs: list[tuple[int, bytes]] = []
        self.backend: SerialBackend | None = None

    def send(self, data: str | bytes) -> None:
        """Gives the guest input, as if typed at the other end."""
        if isinstance(data, str):
            data = data.encode()
        if data:
            self.inputs.append((self.now(), data))
            self.uart.receive(data)

    @property
    def interactive(self) -> bool:
        """Whether a person sits at the back end."""
        return self.backend is not None and self.backend.interactive

    def attach(self, backend: SerialBackend) -> None:
        """Connects a back end; what the guest wrote before is handed to it."""
        self.backend = backend
        if self.output:
            backend.write(bytes(self.output))
        self.listeners.append(backend.write)

    def poll(self) -> bool:
        """Takes in what has come at the back end; True where its user wants to quit."""
        if self.backend is None:
            return False
        self.send(self.backend.poll())
        if self.backend.break_requested:
            self.backend.break_requested = False
            self.uart.receive_break()
        return self.backend.quit_requested


class DisplayAdapter(Protocol):
    """What the screen needs of the display adapter."""

    def text_screen(self) -> list[str]: ...

    def text_cells(self) -> tuple[list[str], list[bytes], tuple[int, int] | None, bool] | None: ...

    def display_state(self) -> dict[str, Any]: ...


class TextCells(NamedTuple):
    """A text mode: whole rows of characters and of attribute bytes, the cursor (column, row), if bit 7 blinks."""

    lines: list[str]
    attributes: list[bytes]
    cursor: tuple[int, int] | None
    blink: bool


class Screen:
    """The VGA's screen: its text, and its picture."""

    def __init__(self, adapter: DisplayAdapter) -> None:
        self.adapter = adapter

    def cells(self) -> TextCells | None:
        """The cells of a text mode; None in graphics modes."""
        cells = self.adapter.text_cells()
        return None if cells is None else TextCells(*cells)

    def state(self, frame: int | None = None) -> AdapterState:
        """All that the picture depends on; `frame` in place of the count of pictures since power-on."""
        state = self.adapter.display_state()
        if frame is not None:
            state["frame"] = frame
        mode = state.pop("vbe")
        return AdapterState(**state, vbe=None if mode is None else VbeMode(*mode))

    def picture(self, frame: int | None = None) -> Picture:
        """What the monitor shows.  Cursor and characters blink with `frame`, which is the present one unless given."""
        from x86emu.display.picture import Picture
        from x86emu.display.render import render

        return Picture(render(self.state(frame)))

    def lines(self) -> list[str]:
        """Rows of the screen without trailing spaces; empty in graphics modes."""
        return [line.rstrip() for line in self.adapter.text_screen()]

    @property
    def text(self) -> str:
        """The rows as one text."""
        return "\n".join(self.lines())
