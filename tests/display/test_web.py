"""--display web without a browser: what its server answers to whom, pictures and input by WebSocket."""

from __future__ import annotations

import io
import json
import socket
from collections.abc import Iterator

import numpy as np
import pytest
from PIL import Image
from websockets.client import ClientProtocol
from websockets.frames import Frame, Opcode
from websockets.uri import parse_uri

from x86emu.display.web.server import RECTANGLE, SERIAL, WebDisplay
from x86emu.errors import UserInputError

TOKEN = "a-token"


class Machine:
    """What a page acts on."""

    def __init__(self) -> None:
        self.pixels = np.zeros((48, 64), dtype=np.uint32)
        self.log: list[tuple[object, ...]] = []

    def press(self, name: str) -> None:
        self.log.append(("press", name))

    def release(self, name: str) -> None:
        self.log.append(("release", name))

    def send(self, chord: str) -> None:
        if chord == "no-key":
            raise UserInputError("There is no such key.")
        self.log.append(("send", chord))

    def move(self, right: int, down: int, wheel: int = 0) -> None:
        self.log.append(("move", right, down, wheel))

    def set_buttons(self, buttons: int) -> None:
        self.log.append(("buttons", buttons))

    def send_serial(self, data: bytes) -> None:
        self.log.append(("serial", data))


class Site:
    def __init__(self) -> None:
        self.machine = Machine()
        self.display = WebDisplay(
            lambda: self.machine.pixels.copy(), self.machine, self.machine, self.machine.send_serial, token=TOKEN
        )

    def poll(self) -> None:
        self.display._next_frame = 0.0
        assert self.display.poll() is False

    def request(self, target: str, *headers: str, host: str | None = None) -> str:
        """The whole answer to a GET."""
        peer = socket.create_connection(("127.0.0.1", self.display.port))
        lines = [f"GET {target} HTTP/1.1", f"Host: {host or f'127.0.0.1:{self.display.port}'}", *headers, "", ""]
        peer.sendall("\r\n".join(lines).encode())
        return receive(self, peer)


def receive(site: Site, peer: socket.socket) -> str:
    peer.settimeout(0.01)
    data = b""
    for _ in range(500):
        site.poll()
        try:
            piece = peer.recv(1 << 16)
        except TimeoutError:
            continue
        if not piece:
            peer.close()
            return data.decode()
        data += piece
    raise AssertionError("the server did not end its answer")


class Page:
    """A WebSocket's other end, and what came: `pixels` put together from rectangles, `serial`, `closed`."""

    def __init__(self, site: Site, origin: str | None = None) -> None:
        self.site = site
        uri = parse_uri(f"ws://127.0.0.1:{site.display.port}/socket?token={TOKEN}")
        self.protocol = ClientProtocol(uri)
        request = self.protocol.connect()
        if origin is not None:
            request.headers["Origin"] = origin
        self.protocol.send_request(request)
        self.peer = socket.create_connection(("127.0.0.1", site.display.port))
        self.peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.peer.settimeout(0.005)
        self.pixels = np.zeros((0, 0, 3), dtype=np.uint8)
        self.rectangles: list[tuple[int, int, int, int]] = []
        self.frames = 0
        self.serial = b""
        self.exchange()

    def exchange(self, rounds: int = 3) -> None:
        """Polls the server and takes in what it sends."""
        for _ in range(rounds):
            for data in self.protocol.data_to_send():
                if data:
                    self.peer.sendall(data)
            self.site.poll()
            try:
                while data := self.peer.recv(1 << 20):
                    self.protocol.receive_data(data)
            except TimeoutError:
                pass
            except OSError:
                return
            for event in self.protocol.events_received():
                if isinstance(event, Frame):
                    self._frame(event)

    def _frame(self, frame: Frame) -> None:
        data = bytes(frame.data)
        if frame.opcode is Opcode.TEXT:
            message = json.loads(data)
            if "size" in message:
                self.pixels = np.zeros((message["size"][1], message["size"][0], 3), dtype=np.uint8)
            else:
                self.frames = message["frame"]
                self.send(shown=self.frames)
        elif frame.opcode is Opcode.BINARY and data[0] == RECTANGLE:
            x, y = int.from_bytes(data[1:3], "little"), int.from_bytes(data[3:5], "little")
            picture = np.asarray(Image.open(io.BytesIO(data[5:])))
            height, width = picture.shape[:2]
            self.rectangles.append((x, y, width, height))
            self.pixels[y : y + height, x : x + width] = picture
        elif frame.opcode is Opcode.BINARY:
            assert data[0] == SERIAL
            self.serial += data[1:]

    def send(self, **message: object) -> None:
        self.send_text(json.dumps(message))

    def send_text(self, text: str) -> None:
        self.protocol.send_text(text.encode())

    @property
    def closed(self) -> int | None:
        """The close code, if the server has ended the connection."""
        return None if self.protocol.close_rcvd is None else int(self.protocol.close_rcvd.code)

    def close(self) -> None:
        self.peer.close()


@pytest.fixture
def site() -> Iterator[Site]:
    site = Site()
    yield site
    site.display.close()
    site.display.close()


def test_the_page_and_its_parts(site: Site) -> None:
    page = site.request(f"/?token={TOKEN}")
    assert page.startswith("HTTP/1.1 200 OK\r\n") and f'data-token="{TOKEN}"' in page and "<canvas" in page
    assert "default-src 'none'" in page and "Referrer-Policy: no-referrer" in page
    for name, kind in (("page.js", "text/javascript"), ("page.css", "text/css")):
        assert f"{name}?token={TOKEN}" in page
        assert kind in site.request(f"/{name}?token={TOKEN}")
    assert site.request(f"/other?token={TOKEN}").startswith("HTTP/1.1 404")
    assert site.display.url == f"http://127.0.0.1:{site.display.port}/?token={TOKEN}"


@pytest.mark.parametrize("target", ["/", "/?token=", "/?token=wrong", "/page.js", f"/?key={TOKEN}", "/socket?token=x"])
def test_without_the_token_nothing(site: Site, target: str) -> None:
    answer = site.request(target)
    assert answer.startswith("HTTP/1.1 403") and "token is missing or wrong" in answer and TOKEN not in answer


def test_other_names_and_origins_are_refused(site: Site) -> None:
    port = site.display.port
    for host in (f"evil.example:{port}", "127.0.0.1", f"127.0.0.1:{port + 1}"):
        assert site.request(f"/?token={TOKEN}", host=host).startswith("HTTP/1.1 403")
    assert site.request(f"/?token={TOKEN}", host=f"localhost:{port}").startswith("HTTP/1.1 200")
    handshake = ("Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13",
                 "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==")  # fmt: skip
    for origin in ("http://evil.example", "null", f"https://127.0.0.1:{port}"):
        answer = site.request(f"/socket?token={TOKEN}", *handshake, f"Origin: {origin}")
        assert answer.startswith("HTTP/1.1 403") and "other origins" in answer
    page = Page(site, f"http://127.0.0.1:{port}")
    assert page.closed is None and page.frames
    page.close()


def test_rubbish_instead_of_requests(site: Site) -> None:
    for data in (b"\x16\x03\x01\x02", b"GET\r\n\r\n", b"POST / HTTP/1.1\r\n\r\n", b"\0" * 20000):
        peer = socket.create_connection(("127.0.0.1", site.display.port))
        peer.sendall(data)
        peer.shutdown(socket.SHUT_WR)
        for _ in range(5):
            site.poll()
        peer.close()
    assert site.request(f"/?token={TOKEN}").startswith("HTTP/1.1 200")


def test_pictures_come_as_changes(site: Site) -> None:
    page = Page(site)
    page.exchange()
    assert page.pixels.shape == (48, 64, 3) and page.frames == 1 and not page.pixels.any()
    page.exchange()
    assert page.frames == 1, "nothing has changed"
    site.machine.pixels[40, 50] = 0x123456
    page.exchange()
    assert page.rectangles[1:] == [(32, 32, 32, 16)] and page.pixels[40, 50].tolist() == [0x12, 0x34, 0x56]
    site.machine.pixels = np.full((20, 30), 0xFFFFFF, dtype=np.uint32)
    page.exchange()
    assert page.pixels.shape == (20, 30, 3) and page.pixels.min() == 255
    page.close()


def test_a_page_that_draws_nothing_gets_two_pictures(site: Site) -> None:
    page = Page(site)
    page.exchange()
    page.send = lambda **_: None  # type: ignore[method-assign]
    for value in range(2, 8):
        site.machine.pixels[:] = value
        page.exchange(1)
    page.exchange()
    assert page.frames == 3, "one that it has drawn, and two"
    page.close()


def test_input_reaches_the_machine(site: Site) -> None:
    page = Page(site)
    page.send(key="KeyA", down=True)
    page.send(key="KeyA", down=False)
    page.send(key="NoSuchKey", down=True)
    page.send(key="KeyB", down=False)
    page.send(strike="ctrl-alt-delete")
    page.send(move=[5, -3, 1])
    page.send(move=[1e9, 0, 0])
    page.send(buttons=5)
    page.send(serial="ls\r")
    page.exchange()
    assert site.machine.log == [
        ("press", "a"), ("release", "a"), ("send", "ctrl-alt-delete"), ("move", 5, -3, 1), ("move", 10000, 0, 0),
        ("buttons", 5), ("serial", b"ls\r"),
    ]  # fmt: skip
    page.close()


def test_keys_held_are_released_when_the_page_goes(site: Site) -> None:
    page = Page(site)
    page.send(key="ShiftLeft", down=True)
    page.send(key="KeyA", down=True)
    page.exchange()
    page.close()
    site.poll()
    assert site.machine.log[2:] == [("release", "a"), ("release", "shift_left")]


@pytest.mark.parametrize(
    "text",
    ["", "no JSON", "[]", "{}", "7", '"key"', '{"key": ["a"], "down": true}', '{"move": [1]}',
     '{"move": [1e999, 0, 0]}',
     '{"buttons": "x"}', '{"other": 1}', '{"strike": "no-key"}', '{"shown": null}', '{"key": "KeyA"}', "[" * 60000],
)  # fmt: skip
def test_messages_that_are_none_end_the_connection_and_no_more(site: Site, text: str) -> None:
    page = Page(site)
    page.send_text(text)
    page.exchange()
    assert page.closed == 1008 and site.machine.log == []
    page.close()
    assert site.request(f"/?token={TOKEN}").startswith("HTTP/1.1 200")


def test_messages_that_are_too_long_or_binary_end_the_connection(site: Site) -> None:
    page = Page(site)
    page.send_text(json.dumps({"serial": "x" * 70000}))
    page.exchange()
    assert page.closed == 1009
    page.close()
    page = Page(site)
    page.protocol.send_binary(b"\x01")
    page.exchange()
    assert page.closed == 1003
    page.close()


def test_the_serial_line_is_shown_with_what_was_before(site: Site) -> None:
    site.display.receive_output(b"x" * 200_000 + b"before ")
    page = Page(site)
    page.exchange()
    site.display.receive_output(b"after")
    page.exchange()
    assert len(page.serial) <= 70_000 and page.serial.endswith(b"before after")
    page.close()


def test_the_last_picture_is_sent_at_the_end(site: Site) -> None:
    page = Page(site)
    page.exchange()
    site.machine.pixels[:] = 0xFF0000
    site.display.close()
    page.peer.settimeout(1)
    while data := page.peer.recv(1 << 16):
        page.protocol.receive_data(data)
    page.send = lambda **_: None  # type: ignore[method-assign]
    for event in page.protocol.events_received():
        if isinstance(event, Frame):
            page._frame(event)
    assert page.closed == 1001 and page.pixels[0, 0].tolist() == [255, 0, 0]
    page.close()


def test_a_port_that_is_taken_is_a_sentence(site: Site) -> None:
    machine = site.machine
    with pytest.raises(UserInputError, match=f"--display web:{site.display.port}: cannot listen at .*another port"):
        WebDisplay(lambda: machine.pixels, machine, machine, machine.send_serial, port=site.display.port)
