"""One TCP connection, seen from the network towards the guest (RFC 9293; window scale from RFC 7323).

What lies between the two is a cable inside this process: nothing is lost but what the guest's device had no room for,
and nothing is reordered.  So a segment out of order is not kept but asked for again, and there is no congestion window.
Retransmission runs in virtual time.  The other end of the connection is a `Stream`.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import Any, Protocol

from x86emu.network.backend import LATENCY, Timers
from x86emu.network.packets import ACK, FIN, LARGEST_PACKET, MTU, PSH, RST, SYN, Tcp

MASK32 = 0xFFFF_FFFF
DEFAULT_MSS, OUR_MSS = 536, MTU - 40
OUR_SCALE = 5
SEND_BUFFER = 512 << 10
LARGEST_SEGMENT = LARGEST_PACKET - 40
SHORTEST_RTO, LONGEST_RTO = 200_000_000, 60_000_000_000  # virtual nanoseconds
RETRIES = 12
SYN_RETRIES = 6
DUPLICATES = 3  # acknowledgements that ask for a retransmission at once
ACKNOWLEDGE_DELAY, ACKNOWLEDGE_BYTES = 200_000, 32 << 10  # that long in virtual time, unless there is so much
LINGER = 60_000_000_000  # how long a connection that both sides have ended is remembered


class State(Enum):
    CONNECTING = "the guest's SYN waits for the stream"
    SYN_SENT = "our SYN waits for the guest"
    SYN_RECEIVED = "our SYN and ACK wait for the guest"
    OPEN = "open"
    CLOSED = "closed"


class Stream(Protocol):
    """The other end."""

    def room(self) -> int:
        """How many bytes of the guest it takes now."""
        ...

    def data(self, data: bytes) -> None:
        """Bytes of the guest, not more than there is room for."""
        ...

    def end(self) -> None:
        """The guest sends no more."""
        ...

    def wanted(self) -> None:
        """The connection has room for more to the guest."""
        ...

    def gone(self) -> None:
        """The connection is over, by reset or by time-out, or all has been sent and acknowledged both ways."""
        ...


def _distance(first: int, second: int) -> int:
    """first - second in sequence space, from -2^31 to 2^31 - 1."""
    return (first - second + 0x8000_0000 & MASK32) - 0x8000_0000


class TcpConnection:
    """`emit(segment)` sends one to the guest; `segments()` says whether one may be larger than the MSS.

    `forget()` is called when the guest may use the two ports for another connection.
    """

    def __init__(
        self,
        guest_port: int,
        remote_port: int,
        initial: int,
        timers: Timers,
        emit: Callable[[Tcp], None],
        segments: Callable[[], bool],
        forget: Callable[[], None],
    ) -> None:
        self.guest_port, self.remote_port = guest_port, remote_port
        self.timers, self.emit, self.segments, self.forget = timers, emit, segments, forget
        self.stream: Stream | None = None
        self.state = State.CONNECTING
        self.unacknowledged = self.next_sequence = self.highest = initial & MASK32
        self.expected = 0  # the guest's next sequence number
        self.window = 0  # how much the guest takes
        self.mss = DEFAULT_MSS
        self.guest_scale: int | None = None
        self.guest_ended = False  # its FIN has come
        self.ending = False  # ours follows what is in the buffer
        self.end_acknowledged = False
        self._buffer = bytearray()  # unacknowledged, then unsent
        self._advertised = self._acknowledged = 0
        self._acknowledging_now = False
        self._duplicates = 0
        self._tries = 0
        self._retransmission: Any = None
        self._acknowledgement: Any = None

    # --- the stream's side

    def connect(self) -> None:
        """Opens towards the guest: a connection that was forwarded to it."""
        self.state = State.SYN_SENT
        self._send_syn()

    def accept(self) -> None:
        """The stream is there: answers the guest's SYN."""
        if self.state is State.CONNECTING:
            self.state = State.SYN_RECEIVED
            self._send_syn()

    def send_room(self) -> int:
        """How many bytes `write` takes."""
        if self.ending or self.state is State.CLOSED:
            return 0
        return max(SEND_BUFFER - len(self._buffer), 0)

    def write(self, data: bytes) -> None:
        """Sends data to the guest, as its window allows."""
        if self.state is not State.CLOSED:
            self._buffer += data
            self._output()

    def finish(self) -> None:
        """No more will be written."""
        if not self.ending:
            self.ending = True
            self._output()

    def abort(self) -> None:
        """Resets the connection; the stream is not told."""
        if self.state is State.CLOSED:
            return
        if self.state is State.CONNECTING:  # RFC 9293, 3.5.2: the answer to a SYN that nobody takes
            self._emit(RST | ACK, 0)
        else:
            self._emit(RST | ACK, self.next_sequence)
        self._close()

    def window_opened(self) -> None:
        """The stream has room again: tells the guest where it had been told of little."""
        if self.state is State.OPEN and not self.guest_ended:
            left = _distance(self._advertised, self.expected)
            if self._receive_window() - left >= max(2 * OUR_MSS, left):
                self._acknowledge()

    # --- the guest's side

    def start(self, syn: Tcp) -> None:
        """Takes the guest's SYN."""
        self.expected = syn.sequence + 1 & MASK32
        self._take_options(syn)
        self.window = syn.window

    def _take_options(self, syn: Tcp) -> None:
        self.mss = min(max(syn.mss or DEFAULT_MSS, 64), OUR_MSS)
        self.guest_scale = syn.window_scale

    def segment(self, segment: Tcp) -> None:
        """Takes a segment of the guest (RFC 9293, section 3.10.7)."""
        if self.state is State.CLOSED:
            return
        if self.state is State.CONNECTING:
            if segment.flags & RST and segment.sequence == self.expected:
                self._over()
            return
        if self.state is State.SYN_SENT:
            self._in_syn_sent(segment)
            return
        ahead = _distance(segment.sequence, self.expected)
        window = max(_distance(self._advertised, self.expected), 0)
        if segment.flags & RST:
            if not ahead:
                self._over()
            elif 0 < ahead < window:
                self._acknowledge()  # RFC 5961, section 3.2: a challenge
            return
        if segment.flags & SYN:
            if self.state is State.SYN_RECEIVED and ahead == -1:
                self._send_syn()
            else:
                self._acknowledge()
            return
        if not segment.flags & ACK:
            return
        if segment.length and (ahead + segment.length <= 0 or ahead > window):
            self._acknowledge()
            if ahead > window:
                return
        if not self._take_acknowledgement(segment):
            return
        if segment.length:
            self._take_payload(segment, ahead)
        self._output()
        self._check_over()

    def _in_syn_sent(self, segment: Tcp) -> None:
        acknowledges = segment.flags & ACK and segment.acknowledgement == self.next_sequence
        if segment.flags & ACK and not acknowledges:
            if not segment.flags & RST:
                self._emit(RST, segment.acknowledgement)
            return
        if segment.flags & RST:
            if acknowledges:
                self._over()
            return
        if not segment.flags & SYN or not acknowledges:
            return
        self.start(segment)
        self.unacknowledged = self.next_sequence
        self._opened()
        self._acknowledge()
        self._output()

    def _opened(self) -> None:
        self.state = State.OPEN
        self._tries = 0
        self._stop_timer()
        if self.stream is not None:
            self.stream.wanted()

    def _take_acknowledgement(self, segment: Tcp) -> bool:
        """What the segment acknowledges, and the window; False where the segment is to be ignored."""
        advance = _distance(segment.acknowledgement, self.unacknowledged)
        if advance > _distance(self.highest, self.unacknowledged):
            self._acknowledge()  # of what was never sent
            return False
        window = segment.window << (self.guest_scale or 0)
        if self.state is State.SYN_RECEIVED:
            if advance != 1:
                return False
            self.unacknowledged = segment.acknowledgement
            self.window = window
            self._opened()
            return True
        if advance < 0:
            return True
        if advance:
            from_buffer = min(advance, len(self._buffer))
            del self._buffer[:from_buffer]
            self.unacknowledged = segment.acknowledgement
            if advance > from_buffer:
                self.end_acknowledged = True
            if _distance(self.unacknowledged, self.next_sequence) > 0:
                self.next_sequence = self.unacknowledged  # acknowledged while it was being sent again
            self._tries = self._duplicates = 0
            self._stop_timer()
            if self.stream is not None and not self.ending:
                self.stream.wanted()
        elif not segment.length and self._in_flight() and window == self.window:
            self._duplicates += 1
            if self._duplicates == DUPLICATES:
                self._send_again()
        if window and not self.window and not advance:
            self.next_sequence = self.unacknowledged  # a probe of the closed window was not taken
        self.window = window
        return True

    def _take_payload(self, segment: Tcp, ahead: int) -> None:
        stream = self.stream
        if stream is None or self.guest_ended or ahead > 0:
            self._acknowledge()  # out of order, or beyond the end
            return
        payload = segment.payload[-ahead:] if ahead else segment.payload
        room = stream.room()
        fits = len(payload) <= room
        if payload:
            payload = payload[:room]
            if payload:
                self.expected = self.expected + len(payload) & MASK32
                stream.data(payload)
        if segment.flags & FIN and fits and -ahead <= len(segment.payload):
            self.expected = self.expected + 1 & MASK32
            self.guest_ended = True
            stream.end()
        self._acknowledge_soon()

    # --- sending

    def _in_flight(self) -> int:
        return _distance(self.next_sequence, self.unacknowledged)

    def _receive_window(self) -> int:
        if self.stream is None:
            return 0
        limit = 0xFFFF << OUR_SCALE if self.guest_scale is not None else 0xFFFF
        return min(self.stream.room(), limit)

    def _emit(self, flags: int, sequence: int, payload: bytes = b"") -> None:
        scale = OUR_SCALE if self.guest_scale is not None else 0
        window = self._receive_window() >> scale
        if flags & ACK:
            self._acknowledged = self.expected
            self._advertised = self.expected + (window << scale) & MASK32
            if self._acknowledgement is not None:
                self.timers.cancel(self._acknowledgement)
                self._acknowledgement = None
        acknowledgement = self.expected if flags & ACK else 0
        self.emit(
            Tcp(self.remote_port, self.guest_port, sequence & MASK32, acknowledgement, flags, window, payload)
        )

    def _send_syn(self) -> None:
        flags = SYN if self.state is State.SYN_SENT else SYN | ACK
        offer = self.state is State.SYN_SENT or self.guest_scale is not None
        window = min(self._receive_window(), 0xFFFF)
        if flags & ACK:
            self._acknowledged = self.expected
            self._advertised = self.expected + window & MASK32
        self.next_sequence = self.highest = self.unacknowledged + 1 & MASK32
        self.emit(
            Tcp(
                self.remote_port, self.guest_port, self.unacknowledged, self.expected if flags & ACK else 0, flags,
                window, mss=OUR_MSS, window_scale=OUR_SCALE if offer else None,
            )
        )  # fmt: skip
        self._start_timer()

    def _acknowledge(self) -> None:
        self._emit(ACK, self.next_sequence)

    def _acknowledge_soon(self) -> None:
        """One acknowledgement for all that the guest sends in one go (RFC 9293, section 3.8.6.3)."""
        much = _distance(self.expected, self._acknowledged) >= ACKNOWLEDGE_BYTES or self.guest_ended
        if self._acknowledgement is not None:
            if not much or self._acknowledging_now:
                return
            self.timers.cancel(self._acknowledgement)
        delay = LATENCY if much else ACKNOWLEDGE_DELAY
        self._acknowledging_now = much
        self._acknowledgement = self.timers.schedule(self.timers.now() + delay, self._acknowledge_now)

    def _acknowledge_now(self) -> None:
        self._acknowledgement = None
        if self.state is State.OPEN:
            self._acknowledge()

    def _output(self) -> None:
        """Sends what the guest's window lets through."""
        if self.state is not State.OPEN:
            return
        largest = LARGEST_SEGMENT - LARGEST_SEGMENT % self.mss if self.segments() else self.mss
        while True:
            sent = min(self._in_flight(), len(self._buffer))
            waiting = len(self._buffer) - sent
            size = min(waiting, self.window - self._in_flight(), largest)
            if size <= 0 or size < self.mss and size < waiting and self._in_flight():
                break
            self._send_data(sent, size)
        if self.ending and not self.end_acknowledged and self._in_flight() == len(self._buffer):
            if self.window > self._in_flight() or not self._in_flight():
                self._emit(FIN | ACK, self.next_sequence)
                self._sent(1)
        if self._in_flight() or self._buffer:
            self._start_timer()  # also where the window is closed: it is probed

    def _send_data(self, at: int, size: int) -> None:
        payload = bytes(memoryview(self._buffer)[at : at + size])
        self._emit(ACK | PSH if at + size == len(self._buffer) else ACK, self.next_sequence, payload)
        self._sent(size)

    def _sent(self, count: int) -> None:
        self.next_sequence = self.next_sequence + count & MASK32
        if _distance(self.next_sequence, self.highest) > 0:
            self.highest = self.next_sequence

    def _send_again(self) -> None:
        """From the first unacknowledged byte on; one segment at first."""
        self.next_sequence = self.unacknowledged
        if self._buffer:
            self._send_data(0, min(len(self._buffer), self.mss, max(self.window, 1)))
        elif self.ending and not self.end_acknowledged:
            self._emit(FIN | ACK, self.next_sequence)
            self._sent(1)

    # --- time

    def _start_timer(self) -> None:
        if self._retransmission is None:
            delay = min(SHORTEST_RTO << self._tries, LONGEST_RTO)
            self._retransmission = self.timers.schedule(self.timers.now() + delay, self._time_out)

    def _stop_timer(self) -> None:
        if self._retransmission is not None:
            self.timers.cancel(self._retransmission)
            self._retransmission = None

    def _time_out(self) -> None:
        self._retransmission = None
        self._tries += 1
        opening = self.state in (State.SYN_SENT, State.SYN_RECEIVED)
        if self._tries > (SYN_RETRIES if opening else RETRIES) and (opening or self.window):
            self.abort()
            self._tell_stream()
            return
        self._tries = min(self._tries, RETRIES)
        if opening:
            self._send_syn()
            return
        self._send_again()
        self._start_timer()

    # --- the end

    def _check_over(self) -> None:
        if self.guest_ended and self.end_acknowledged and self.state is State.OPEN:
            if self._acknowledgement is not None:
                self._acknowledge()
            self._close(linger=True)
            self._tell_stream()

    def _over(self) -> None:
        self._close()
        self._tell_stream()

    def _tell_stream(self) -> None:
        stream, self.stream = self.stream, None
        if stream is not None:
            stream.gone()

    def _close(self, *, linger: bool = False) -> None:
        self.state = State.CLOSED
        self._buffer.clear()
        self._stop_timer()
        if self._acknowledgement is not None:
            self.timers.cancel(self._acknowledgement)
            self._acknowledgement = None
        if linger:  # TIME-WAIT: the guest's FIN may come again
            self.timers.schedule(self.timers.now() + LINGER, self.forget)
        else:
            self.forget()

    def answer_late(self, segment: Tcp) -> None:
        """A segment for a connection that is remembered only: acknowledged, so that the guest's FIN finds its end."""
        if segment.length and not segment.flags & (RST | SYN):
            self._emit(ACK, self.next_sequence)
