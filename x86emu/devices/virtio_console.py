"""Virtio console (Virtual I/O Device 1.2, section 5.3): one port, or several with their control queues (5.3.6.2).

With emergency write (5.3.4, bit 2 of the features).  A port with a name is a serial port for programs, found by its
name; one without is a terminal.  Left out: the window's size, adding and removing ports while the machine runs.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from x86emu.devices.virtio_device import VirtioDevice
from x86emu.devices.virtio_ring import VirtQueue

RECEIVE, TRANSMIT, CONTROL_RECEIVE, CONTROL_TRANSMIT = 0, 1, 2, 3
QUEUE_SIZE = 64
F_MULTIPORT, F_EMERG_WRITE = 1, 2
EMERGENCY_WRITE = 8  # offset in the configuration
LARGEST_WRITE = 1 << 20
LARGEST_BACKLOG = 1 << 20  # bytes that wait for the guest; more from the host is dropped, as on a serial line
LARGEST_PORTS = 31

# Control messages: port, event, value.
DEVICE_READY, DEVICE_ADD, PORT_READY, CONSOLE_PORT, PORT_OPEN, PORT_NAME = 0, 1, 3, 4, 6, 7


@dataclass
class ConsolePort:
    """One port.  `output(data)` gets what the guest sends there."""

    output: Callable[[bytes], object] | None = None
    name: str | None = None
    waiting: bytearray = field(default_factory=bytearray)
    open: bool = False  # a program in the guest has it open


class VirtioConsole(VirtioDevice):
    """Ports 0 and up; one terminal alone needs no control queues.  `receive(data, port)` is the host's side."""

    DEVICE_ID = 3
    TRANSITIONAL_PCI_ID = 0x1003
    CLASS_CODE = 0x078000
    QUEUES = (QUEUE_SIZE, QUEUE_SIZE)
    FEATURES = 1 << F_EMERG_WRITE

    def __init__(
        self,
        output: Callable[[bytes], object] | None = None,
        *,
        ports: Sequence[ConsolePort] = (),
        name: str = "virtio-console",
    ) -> None:
        super().__init__(name)
        self.ports = list(ports) or [ConsolePort(output)]
        self.control: list[bytes] = []  # messages that wait for the driver
        if len(self.ports) > 1 or self.ports[0].name is not None:
            self.features |= 1 << F_MULTIPORT
            self.queue_sizes = (QUEUE_SIZE,) * (2 * len(self.ports) + 2)

    @property
    def multiport(self) -> bool:
        """Whether the driver uses the control queues."""
        return bool(self.accepted >> F_MULTIPORT & 1)

    def config_space(self) -> bytes:
        return bytes(4) + struct.pack("<I", len(self.ports)) + bytes(4)

    def config_write(self, offset: int, data: bytes) -> None:
        output = self.ports[0].output
        if offset == EMERGENCY_WRITE and output is not None:
            output(data[:1])

    # --- the host's side

    def receive(self, data: bytes, port: int = 0) -> None:
        """Bytes for the guest; they wait until it offers buffers, and has a named port open."""
        waiting = self.ports[port].waiting
        waiting += data[: LARGEST_BACKLOG - len(waiting)]
        self.wake(2 * port + 2 if port else RECEIVE)

    # --- queues

    def handle(self, index: int) -> None:
        queue = self.queues[index]
        if index == CONTROL_RECEIVE and len(self.queues) > 2:
            self._send_control()
        elif index == CONTROL_TRANSMIT:
            while (chain := queue.pop()) is not None:
                if chain.readable_bytes <= LARGEST_WRITE:
                    self._control(queue.gather(chain))
                queue.push(chain, 0)
            self._send_control()
        elif index & 1:
            output = self.ports[max(index - 3, 0) // 2 if index != TRANSMIT else 0].output
            while (chain := queue.pop()) is not None:
                if chain.readable_bytes <= LARGEST_WRITE and output is not None:
                    output(queue.gather(chain))
                queue.push(chain, 0)
        else:
            self._fill(queue, self.ports[max(index - 2, 0) // 2])

    def _fill(self, queue: VirtQueue, port: ConsolePort) -> None:
        if self.multiport and port.name is not None and not port.open:
            return
        while port.waiting and (chain := queue.pop()) is not None:
            part = bytes(port.waiting[: chain.writable_bytes])
            queue.scatter(chain, part)
            del port.waiting[: len(part)]
            queue.push(chain, len(part))

    def _control(self, message: bytes) -> None:
        """A message from the driver."""
        if len(message) < 8:
            return
        number, event, value = struct.unpack_from("<IHH", message)
        if event == DEVICE_READY and value:
            for index in range(len(self.ports)):
                self._tell(index, DEVICE_ADD, 1)
            return
        if number >= len(self.ports):
            return
        port = self.ports[number]
        if event == PORT_READY and value:
            if port.name is None:
                self._tell(number, CONSOLE_PORT, 1)
            else:
                self._tell(number, PORT_NAME, 1, port.name.encode())
            self._tell(number, PORT_OPEN, 1)  # the host's end is always open
        elif event == PORT_OPEN:
            port.open = bool(value)
            queue = self.queues[2 * number + 2 if number else RECEIVE]
            if port.open and queue.enabled:
                self._fill(queue, port)

    def _tell(self, number: int, event: int, value: int, data: bytes = b"") -> None:
        self.control.append(struct.pack("<IHH", number, event, value) + data)

    def _send_control(self) -> None:
        queue = self.queues[CONTROL_RECEIVE]
        while self.control and queue.enabled and (chain := queue.pop()) is not None:
            message = self.control.pop(0)[: chain.writable_bytes]
            queue.scatter(chain, message)
            queue.push(chain, len(message))

    # --- state

    def reset(self) -> None:
        super().reset()
        self.control.clear()
        for port in self.ports:
            port.waiting.clear()
            port.open = False

    def save(self) -> dict[str, object]:
        ports = [(bytes(port.waiting), port.open) for port in self.ports]
        return super().save() | {"ports": ports, "control": list(self.control)}

    def load(self, state: dict[str, Any]) -> None:
        for port, (waiting, is_open) in zip(self.ports, state["ports"], strict=True):
            port.waiting[:] = waiting
            port.open = is_open
        self.control = list(state["control"])
        super().load(state)
