"""PS/2 mouse with wheel (IBM PS/2 Hardware Interface Technical Reference, "Auxiliary Device"; the IntelliMouse
extension is Microsoft's: sample rates 200, 100, 80 turn on the wheel and device id 3).

Movement is reported when there is room, not at the sample rate: what has not been reported yet is added up.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from x86emu.bus.device import Device

ACKNOWLEDGE = 0xFA
ERROR = 0xFC
RESEND = 0xFE
SELF_TEST_PASSED = 0xAA
WHEEL_KNOCK = (200, 100, 80)
ID_STANDARD = 0
ID_WHEEL = 3

LEFT, RIGHT, MIDDLE = 1, 2, 4
PACKET_ALWAYS_ONE = 0x08
# Three packets at most wait in the device, so that a guest that is slow to read sees fresh positions.
QUEUE_LIMIT = 12


class Ps2Mouse(Device):
    """The mouse. The controller pulls bytes with `take()` and is woken through `on_data`."""

    STATE = (
        "_responses", "_packets", "_parameter_of", "_last", "_id", "_knock", "_rate", "_resolution", "_scaling_2_1",
        "_remote", "_wrap", "_reporting", "_buttons", "_dx", "_dy", "_dz", "_buttons_changed",
    )  # fmt: skip

    def __init__(self, *, name: str = "PS/2 mouse") -> None:
        super().__init__(name)
        self.on_data: Callable[[], object] | None = None
        self._buttons = 0
        self.reset()

    def reset(self) -> None:
        """Power on: stream mode, reporting off, 100 samples a second, 4 counts a millimetre.

        The self-test code has gone out before anybody listens: the controller holds both devices off at power-on.
        """
        self._responses: deque[int] = deque()
        self._packets: deque[int] = deque()
        self._parameter_of = 0
        self._last = SELF_TEST_PASSED
        self._id = ID_STANDARD
        self._knock: deque[int] = deque(maxlen=3)
        self._defaults()

    def _defaults(self) -> None:
        self._rate = 100
        self._resolution = 2
        self._scaling_2_1 = False
        self._remote = False
        self._wrap = False
        self._reporting = False
        self._dx = self._dy = self._dz = 0
        self._buttons_changed = False

    # --- host side

    def move(self, dx: int, dy: int, dz: int = 0) -> None:
        """Moves by counts: right, up, and wheel steps towards the user."""
        self._dx += dx
        self._dy += dy
        self._dz += dz
        self._report()

    def set_buttons(self, buttons: int) -> None:
        """Presses and releases: LEFT, RIGHT and MIDDLE ored together."""
        self._buttons_changed = self._buttons_changed or buttons != self._buttons
        self._buttons = buttons & 7
        self._report()

    # --- controller side

    def pending(self) -> bool:
        """Whether a byte waits for the controller."""
        return bool(self._responses or self._packets)

    def urgent(self) -> bool:
        """Whether the byte that waits answers a command."""
        return bool(self._responses)

    def take(self) -> int:
        """The next byte for the controller: answers to commands before movement."""
        if self._responses:
            self._last = self._responses.popleft()
        elif self._packets:
            self._last = self._packets.popleft()
            self._report()
        return self._last

    def command(self, value: int) -> None:
        """A byte from the controller: a command, or the parameter of the one before."""
        self._responses.clear()
        if self._wrap and value not in (0xEC, 0xFF):
            self._answer(value)
            return
        command, self._parameter_of = self._parameter_of, 0
        if command == 0xF3:
            self._rate = value
            self._knock.append(value)
            if tuple(self._knock) == WHEEL_KNOCK:
                self._id = ID_WHEEL
            self._answer(ACKNOWLEDGE)
        elif command == 0xE8:
            if value > 3:
                self._answer(ERROR)
            else:
                self._resolution = value
                self._answer(ACKNOWLEDGE)
        else:
            self._command(value)

    def _command(self, value: int) -> None:
        if value == 0xFF:
            self.reset()
            self._responses.clear()
            self._answer(ACKNOWLEDGE, SELF_TEST_PASSED, ID_STANDARD)
        elif value == 0xFE:
            self._answer(self._last)
        elif value == 0xF6:
            self._defaults()
            self._answer(ACKNOWLEDGE)
        elif value in (0xF4, 0xF5):
            self._reporting = value == 0xF4
            self._packets.clear()
            self._dx = self._dy = self._dz = 0
            self._answer(ACKNOWLEDGE)
        elif value in (0xF3, 0xE8):
            self._parameter_of = value
            self._answer(ACKNOWLEDGE)
        elif value == 0xF2:
            self._answer(ACKNOWLEDGE, self._id)
        elif value in (0xF0, 0xEA):
            self._remote = value == 0xF0
            self._packets.clear()
            self._answer(ACKNOWLEDGE)
        elif value in (0xEE, 0xEC):
            self._wrap = value == 0xEE
            self._answer(ACKNOWLEDGE)
        elif value == 0xEB:
            self._answer(ACKNOWLEDGE, *self._packet())
        elif value == 0xE9:
            left_right = (self._buttons & LEFT) << 2 | (self._buttons & MIDDLE) >> 1 | (self._buttons & RIGHT) >> 1
            status = self._remote << 6 | self._reporting << 5 | self._scaling_2_1 << 4 | left_right
            self._answer(ACKNOWLEDGE, status, self._resolution, self._rate)
        elif value in (0xE6, 0xE7):
            self._scaling_2_1 = value == 0xE7
            self._answer(ACKNOWLEDGE)
        else:
            self._answer(RESEND)

    def _answer(self, *values: int) -> None:
        self._responses.extend(values)
        self._wake()

    def _wake(self) -> None:
        if self.on_data is not None:
            self.on_data()

    def _report(self) -> None:
        if not self._reporting or self._remote or self._wrap:
            return
        queued = False
        while (self._dx or self._dy or self._dz or self._buttons_changed) and len(self._packets) < QUEUE_LIMIT:
            self._packets.extend(self._packet())
            queued = True
        if queued:
            self._wake()

    def _packet(self) -> bytes:
        """One report: nine-bit movements, the rest of a longer way stays for the next one."""
        dx = min(max(self._dx, -256), 255)
        dy = min(max(self._dy, -256), 255)
        self._dx -= dx
        self._dy -= dy
        self._buttons_changed = False
        flags = PACKET_ALWAYS_ONE | self._buttons | (0x10 if dx < 0 else 0) | (0x20 if dy < 0 else 0)
        packet = bytes((flags, dx & 0xFF, dy & 0xFF))
        if self._id == ID_WHEEL:
            dz = min(max(self._dz, -8), 7)
            self._dz -= dz
            return packet + bytes((dz & 0xFF,))
        self._dz = 0
        return packet
