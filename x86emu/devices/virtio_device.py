"""What a virtio device is to its transport (Virtual I/O Device 1.2, chapter 2)."""

from __future__ import annotations

from typing import ClassVar

from x86emu.bus.device import Device
from x86emu.devices.virtio_ring import VirtQueue


class VirtioDevice(Device):
    """Base of the device types: what it offers, its configuration space, and what it does when a queue is notified."""

    DEVICE_ID = 0  # chapter 5
    TRANSITIONAL_PCI_ID = 0  # section 4.1.2.1
    CLASS_CODE = 0
    QUEUES: ClassVar[tuple[int, ...]] = ()  # the largest size of each
    FEATURES = 0  # the device type's own bits; the transport adds the general ones

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.features = self.FEATURES
        self.accepted = 0  # what the driver accepted
        self.queues: list[VirtQueue] = []  # set by the transport

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
