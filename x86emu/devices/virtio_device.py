"""What a virtio device is to its transport (Virtual I/O Device 1.2, chapter 2)."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from x86emu.bus.device import Device
from x86emu.devices.virtio_ring import VirtQueue


def _nobody(*_: object) -> None:
    """Stands in for a transport that is not there yet."""


class VirtioDevice(Device):
    """Base of the device types: what it offers, its configuration space, and what it does when a queue is notified.

    The transport sets `queues`; `wake`, by which the device has a queue worked off when the host has something for it;
    and `config_changed`, by which it tells the driver that its configuration is another.
    """

    DEVICE_ID = 0  # chapter 5
    TRANSITIONAL_PCI_ID = 0  # section 4.1.2.1
    CLASS_CODE = 0
    QUEUES: ClassVar[tuple[int, ...]] = ()  # the largest size of each
    FEATURES = 0  # the device type's own bits; the transport adds the general ones

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.features = self.FEATURES
        self.queue_sizes = self.QUEUES
        self.accepted = 0  # what the driver accepted
        self.queues: list[VirtQueue] = []
        self.wake: Callable[[int], object] = _nobody
        self.config_changed: Callable[[], object] = _nobody

    def config_space(self) -> bytes:
        """The device-specific configuration as it reads now."""
        return b""

    def config_write(self, offset: int, data: bytes) -> None:
        """A write by the driver to the device-specific configuration."""

    def handle(self, index: int) -> None:
        """Works off queue `index`.  RingError where the driver broke a rule."""
        raise NotImplementedError

    def reset(self) -> None:
        self.accepted = 0
