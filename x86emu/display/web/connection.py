"""One browser's connection: HTTP and WebSocket (RFC 6455) by the `websockets` package's protocol without input and
output, on a socket that never blocks.

Requests are answered by the `answer` given; a WebSocket's messages wait in `messages`.
"""

from __future__ import annotations

import socket
from collections.abc import Callable

from websockets.exceptions import ConnectionClosed
from websockets.frames import Frame, Opcode
from websockets.http11 import Request, Response
from websockets.protocol import State
from websockets.server import ServerProtocol

READ_BYTES = 1 << 16
LARGEST_MESSAGE = 1 << 16
LARGEST_BACKLOG = 32 << 20  # a browser that takes nothing any more is let go

Answer = Callable[[ServerProtocol, Request], Response]


class Connection:
    """A browser at `peer`.  `closed` once it has gone; `open` while it is a WebSocket."""

    def __init__(self, peer: socket.socket, answer: Answer) -> None:
        peer.setblocking(False)
        self._peer = peer
        self._answer = answer
        self._protocol = ServerProtocol(max_size=LARGEST_MESSAGE)
        self._backlog = bytearray()
        self._ending = False
        self.messages: list[str] = []
        self.closed = False

    @property
    def open(self) -> bool:
        """Whether the WebSocket handshake is done and neither side has ended."""
        return not self.closed and self._protocol.state is State.OPEN

    @property
    def backlog(self) -> int:
        """Bytes that the browser has not taken yet."""
        return len(self._backlog)

    def fileno(self) -> int:
        """The socket's descriptor, -1 when closed."""
        return self._peer.fileno()

    def poll(self) -> None:
        """Takes in what has come, sends what can be sent; never waits."""
        if self.closed:
            return
        try:
            while data := self._peer.recv(READ_BYTES):
                self._protocol.receive_data(data)
                self._handle()
            self._protocol.receive_eof()
            self._handle()
            self._ending = True
        except BlockingIOError:
            pass
        except OSError:
            self.close()
            return
        self._flush()

    def send(self, message: str | bytes) -> None:
        """Sends a message, at once as far as the browser takes it."""
        if self.open:
            try:
                if isinstance(message, str):
                    self._protocol.send_text(message.encode())
                else:
                    self._protocol.send_binary(message)
            except ConnectionClosed:
                return
            self._flush()

    def refuse(self, reason: str) -> None:
        """Ends the WebSocket because of what its browser sent (RFC 6455, 7.4.1: 1008)."""
        if self.open:
            self._protocol.fail(1008, reason)
            self._flush()

    def end(self) -> None:
        """Says goodbye and closes."""
        if self.open:
            self._protocol.send_close(1001)
            self._flush()
        self.close()

    def close(self) -> None:
        """Gives the socket back; may be called twice."""
        self.closed = True
        self._peer.close()

    def _handle(self) -> None:
        for event in self._protocol.events_received():
            if isinstance(event, Request):
                self._protocol.send_response(self._answer(self._protocol, event))
            elif isinstance(event, Frame) and event.opcode is Opcode.TEXT and event.fin:
                self.messages.append(bytes(event.data).decode("utf-8", "replace"))
            elif isinstance(event, Frame) and event.opcode in (Opcode.TEXT, Opcode.BINARY, Opcode.CONT):
                self._protocol.fail(1003, "one text frame a message")  # what our page sends is short text

    def _flush(self) -> None:
        for data in self._protocol.data_to_send():
            self._backlog += data
            self._ending = self._ending or not data
        try:
            while self._backlog:
                del self._backlog[: self._peer.send(self._backlog)]
        except BlockingIOError:
            pass
        except OSError:
            self.close()
        if self._ending and not self._backlog or len(self._backlog) > LARGEST_BACKLOG:
            self.close()
