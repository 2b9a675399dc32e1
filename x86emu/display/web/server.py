"""`--display web`: a page on 127.0.0.1 with the screen on a canvas, keys, mouse, and the serial line beside it.

Served without threads: the run loop polls, and only then does input reach the guest.  Every request needs the random
token of the address that is told to the user, a Host of ours (so that no name of somebody else's leads here) and, for
the WebSocket, an Origin of ours.

Messages to the page: {"size": [w, h]}, {"frame": n} behind the rectangles of a picture, and binary ones: 1, x, y (16
bits each, little-endian), PNG; or 2, bytes of the serial line.  From the page: {"shown": n}, {"key": code, "down": b},
{"strike": chord}, {"move": [right, down, wheel]}, {"buttons": n}, {"serial": text}.
"""

from __future__ import annotations

import hmac
import json
import secrets
import socket
import struct
import time
from collections.abc import Callable, Iterable
from http import HTTPStatus
from importlib import resources
from typing import Any, Protocol
from urllib.parse import parse_qs, urlsplit

from websockets.datastructures import Headers
from websockets.http11 import Request, Response
from websockets.server import ServerProtocol

from x86emu.display import png
from x86emu.display.changes import changed_rectangles
from x86emu.display.colours import Pixels
from x86emu.display.web.connection import Connection
from x86emu.display.web.keys import KEY_OF_CODE
from x86emu.errors import UserInputError

ADDRESS = "127.0.0.1"
FRAME_SECONDS = 0.04
LARGEST_SHARE = 8  # drawing takes at most an eighth of the host's time
FRAMES_UNDER_WAY = 2
MOST_CONNECTIONS = 16
KEPT_SERIAL = 1 << 16
LARGEST_MOVE = 10_000
RECTANGLE, SERIAL = 1, 2
TYPES = {"html": "text/html; charset=utf-8", "css": "text/css; charset=utf-8", "js": "text/javascript; charset=utf-8"}
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src blob:; base-uri 'none';"
    " form-action 'none'; frame-ancestors 'none'"
)


class KeyboardInput(Protocol):
    """The keyboard of a machine."""

    def press(self, name: str) -> object: ...

    def release(self, name: str) -> object: ...

    def send(self, chord: str, /) -> object: ...


class MouseInput(Protocol):
    """The mouse of a machine."""

    def move(self, right: int, down: int, wheel: int = 0) -> object: ...

    def set_buttons(self, buttons: int) -> object: ...


class Viewer:
    """A page: its connection, the picture it has, the serial line's output still to be sent, keys it holds down."""

    def __init__(self, connection: Connection, serial: bytes) -> None:
        self.connection = connection
        self.serial = bytearray(serial)
        self.pixels: Pixels | None = None
        self.sent = 0
        self.shown = 0
        self.held: set[str] = set()


class WebDisplay:
    """The server, as a service of the host's side.  `url` is what a browser opens.

    `picture()` gives the screen's pixels, `send_serial` takes what is typed at the serial line; `receive_output` takes
    what the guest writes to it.  UserInputError where the port cannot be had.
    """

    def __init__(
        self,
        picture: Callable[[], Pixels],
        keyboard: KeyboardInput,
        mouse: MouseInput,
        send_serial: Callable[[bytes], object],
        *,
        port: int = 0,
        token: str | None = None,
    ) -> None:
        self._picture = picture
        self._keyboard = keyboard
        self._mouse = mouse
        self._send_serial = send_serial
        self._token = secrets.token_urlsafe(18) if token is None else token
        self._serial = bytearray()
        self._viewers: list[Viewer] = []
        self._next_frame = 0.0
        try:
            self._listener = socket.create_server((ADDRESS, port))
        except OSError as error:
            raise UserInputError(
                f"--display web:{port}: cannot listen at {ADDRESS}:{port} ({error.strerror}); another port, or none for"
                " a free one, would do"
            ) from None
        self._listener.setblocking(False)
        self.port: int = self._listener.getsockname()[1]
        self._hosts = (f"{ADDRESS}:{self.port}", f"localhost:{self.port}")
        self.url = f"http://{ADDRESS}:{self.port}/?token={self._token}"

    # --- the run loop's side

    def descriptors(self) -> Iterable[int]:
        """The listening socket and the browsers' connections."""
        return [self._listener.fileno(), *(viewer.connection.fileno() for viewer in self._viewers)]

    @property
    def waiting(self) -> bool:
        """Somebody may be about to open the page or to press a key."""
        return True

    def poll(self) -> bool:
        """Accepts, answers, hands input to the guest, sends what has changed.  A page never ends the run."""
        self._accept()
        for viewer in self._viewers:
            viewer.connection.poll()
            for text in viewer.connection.messages:
                self._take(viewer, text)
            viewer.connection.messages.clear()
        for viewer in [viewer for viewer in self._viewers if viewer.connection.closed]:
            self._release(viewer)
            self._viewers.remove(viewer)
        self._show()
        return False

    def close(self) -> None:
        """Sends the last picture and ends all connections; may be called twice."""
        self._next_frame = 0.0
        self._show()
        for viewer in self._viewers:
            viewer.connection.end()
        self._viewers.clear()
        self._listener.close()

    def receive_output(self, data: bytes) -> None:
        """Takes what the guest writes to its serial line."""
        self._serial += data
        if len(self._serial) > 2 * KEPT_SERIAL:
            del self._serial[:-KEPT_SERIAL]
        for viewer in self._viewers:
            viewer.serial += data  # goes with the next picture: a guest writes byte by byte
            if len(viewer.serial) > 2 * KEPT_SERIAL:
                del viewer.serial[:-KEPT_SERIAL]

    # --- requests

    def _accept(self) -> None:
        while True:
            try:
                peer, _ = self._listener.accept()
            except OSError:
                return
            if len(self._viewers) >= MOST_CONNECTIONS:
                peer.close()
                continue
            peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._viewers.append(Viewer(Connection(peer, self._answer), bytes(self._serial[-KEPT_SERIAL:])))

    def _answer(self, protocol: ServerProtocol, request: Request) -> Response:
        target = urlsplit(request.path)
        given = parse_qs(target.query).get("token", [""])[-1]
        if request.headers.get_all("Host") not in [[host] for host in self._hosts]:
            return _plain(HTTPStatus.FORBIDDEN, "This server answers by its own address only.")
        if not hmac.compare_digest(given.encode(), self._token.encode()):
            return _plain(HTTPStatus.FORBIDDEN, "The token is missing or wrong; open the address that x86emu has told.")
        if target.path == "/socket":
            origins = request.headers.get_all("Origin")
            if any(origin not in [f"http://{host}" for host in self._hosts] for origin in origins):
                return _plain(HTTPStatus.FORBIDDEN, "Pages of other origins cannot connect.")
            return protocol.accept(request)
        name = {"/": "page.html", "/page.js": "page.js", "/page.css": "page.css"}.get(target.path)
        if name is None:
            return _plain(HTTPStatus.NOT_FOUND, "There is no such page.")
        text = resources.files("x86emu.display.web").joinpath(name).read_text(encoding="utf-8")
        return _response(HTTPStatus.OK, TYPES[name.rpartition(".")[2]], text.replace("TOKEN", self._token).encode())

    # --- what a page sends

    def _take(self, viewer: Viewer, text: str) -> None:
        try:
            message = json.loads(text)
            self._handle(viewer, message)
        except (ValueError, TypeError, KeyError, OverflowError, RecursionError, UserInputError):
            viewer.connection.refuse("that is no message of the page's")

    def _handle(self, viewer: Viewer, message: dict[str, Any]) -> None:
        kind = next(iter(message), None)
        if kind == "shown":
            viewer.shown = int(message["shown"])
        elif kind == "key":
            key = KEY_OF_CODE.get(message["key"])
            if key is None:
                return  # a key that a PS/2 keyboard does not have
            if message["down"] is True:
                viewer.held.add(key)
                self._keyboard.press(key)
            elif key in viewer.held:
                viewer.held.discard(key)
                self._keyboard.release(key)
        elif kind == "strike":
            self._keyboard.send(str(message["strike"]))
        elif kind == "move":
            right, down, wheel = (max(-LARGEST_MOVE, min(LARGEST_MOVE, int(count))) for count in message["move"])
            self._mouse.move(right, down, wheel)
        elif kind == "buttons":
            # A browser counts left 1, right 2, middle 4, as the mouse does.
            self._mouse.set_buttons(int(message["buttons"]) & 7)
        elif kind == "serial":
            self._send_serial(str(message["serial"]).encode())
        else:
            raise KeyError(kind)

    def _release(self, viewer: Viewer) -> None:
        for key in sorted(viewer.held):
            self._keyboard.release(key)
        viewer.held.clear()

    # --- what a page gets

    def _show(self) -> None:
        now = time.monotonic()
        if now < self._next_frame:
            return
        due = [viewer for viewer in self._viewers if viewer.connection.open]
        for viewer in due:
            if viewer.serial and viewer.connection.backlog < KEPT_SERIAL:
                viewer.connection.send(bytes((SERIAL,)) + bytes(viewer.serial))
                viewer.serial.clear()
        due = [viewer for viewer in due if viewer.sent - viewer.shown < FRAMES_UNDER_WAY]
        if due:
            pixels = self._picture()
            for viewer in due:
                self._send_changes(viewer, pixels)
        took = time.monotonic() - now
        self._next_frame = now + max(FRAME_SECONDS, took * LARGEST_SHARE)

    @staticmethod
    def _send_changes(viewer: Viewer, pixels: Pixels) -> None:
        rectangles = changed_rectangles(viewer.pixels, pixels)
        if not rectangles:
            return
        if viewer.pixels is None or viewer.pixels.shape != pixels.shape:
            viewer.connection.send(json.dumps({"size": [pixels.shape[1], pixels.shape[0]]}))
        for x, y, width, height in rectangles:
            data = png.encode(pixels[y : y + height, x : x + width], level=1)
            viewer.connection.send(struct.pack("<BHH", RECTANGLE, x, y) + data)
        viewer.pixels = pixels
        viewer.sent += 1
        viewer.connection.send(json.dumps({"frame": viewer.sent}))


def _response(status: HTTPStatus, kind: str, body: bytes) -> Response:
    headers = Headers([
        ("Content-Type", kind), ("Content-Length", str(len(body))), ("Connection", "close"),
        ("Cache-Control", "no-store"), ("Content-Security-Policy", POLICY), ("Referrer-Policy", "no-referrer"),
        ("X-Content-Type-Options", "nosniff"), ("Cross-Origin-Resource-Policy", "same-origin"),
    ])  # fmt: skip
    return Response(int(status), status.phrase, headers, body)


def _plain(status: HTTPStatus, sentence: str) -> Response:
    return _response(status, "text/plain; charset=utf-8", sentence.encode() + b"\n")
