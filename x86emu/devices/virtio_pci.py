"""Virtio over PCI (Virtual I/O Device 1.2, section 4.1): a transitional function, 1AF4:1000h and up.

BAR 0 (I/O) is the legacy interface (4.1.4.10); BAR 4 (memory) holds common configuration, ISR, device configuration
and notifications, found by the vendor capabilities at 40h.  The configuration access capability (4.1.4.9) works.
Left out: MSI-X (the function has INTx only), packed queues.  A notification is worked off at once.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from x86emu.bus.pci import CAPABILITIES, COMMAND_MASTER, STATUS, STATUS_CAPABILITIES, Bar, FunctionDma, PciFunction
from x86emu.devices.virtio_device import VirtioDevice
from x86emu.devices.virtio_ring import F_EVENT_IDX, F_INDIRECT_DESC, RingError, VirtQueue

if TYPE_CHECKING:
    from x86emu.bus.dma import Dma

VENDOR = 0x1AF4
F_VERSION_1 = 32
GENERAL_FEATURES = 1 << F_INDIRECT_DESC | 1 << F_EVENT_IDX | 1 << F_VERSION_1
LEGACY_FEATURES = 0xFFFF_FFFF  # bits 0 to 31 are all that the legacy interface has

STATUS_DRIVER_OK, STATUS_FEATURES_OK, STATUS_NEEDS_RESET = 0x04, 0x08, 0x40
ISR_QUEUE, ISR_CONFIG = 1, 2
NO_VECTOR = 0xFFFF

# Capability (4.1.4): type, offset in BAR 4, length.
MEMORY_BAR = 4
COMMON, NOTIFY, ISR, DEVICE, ACCESS = 1, 2, 3, 4, 5
PARTS = {COMMON: (0x0000, 0x1000), ISR: (0x1000, 0x1000), DEVICE: (0x2000, 0x1000), NOTIFY: (0x3000, 0x1000)}
FIRST_CAPABILITY = 0x40
ACCESS_CAPABILITY = 0x84
NOTIFY_MULTIPLIER = 4

# Common configuration (4.1.4.3): offset -> (size, name); "_low" to 64-bit fields by halves.
COMMON_FIELDS = {
    0x00: (4, "device_feature_select"), 0x04: (4, "device_feature"), 0x08: (4, "driver_feature_select"),
    0x0C: (4, "driver_feature"), 0x10: (2, "msix_config"), 0x12: (2, "num_queues"), 0x14: (1, "device_status"),
    0x15: (1, "config_generation"), 0x16: (2, "queue_select"), 0x18: (2, "queue_size"),
    0x1A: (2, "queue_msix_vector"), 0x1C: (2, "queue_enable"), 0x1E: (2, "queue_notify_off"),
    0x20: (8, "queue_desc"), 0x28: (8, "queue_driver"), 0x30: (8, "queue_device"),
}  # fmt: skip
COMMON_BYTES = 0x38
ADDRESSES = {"queue_desc": "descriptors", "queue_driver": "available", "queue_device": "used"}
LEGACY_CONFIG = 0x14


class VirtioPci(PciFunction):
    """The PCI function of a virtio device; `in_memory(address, length)` says whether a range is RAM."""

    def __init__(self, model: VirtioDevice, dma: Dma, in_memory: Callable[[int, int], bool]) -> None:
        super().__init__(
            model.name,
            vendor_id=VENDOR,
            device_id=model.TRANSITIONAL_PCI_ID,
            class_code=model.CLASS_CODE,
            subsystem_vendor_id=VENDOR,
            subsystem_id=model.DEVICE_ID,
            interrupt_pin=1,
            bars=(
                Bar(0, 0x80, "io", self.read_legacy, self.write_legacy, f"{model.name} legacy"),
                Bar(MEMORY_BAR, 0x4000, "memory", self.read_memory, self.write_memory, model.name),
            ),
        )
        self.model = model
        port = FunctionDma(self, dma)
        self.queues = [VirtQueue(port, in_memory, size) for size in model.QUEUES]
        model.queues = self.queues
        self.problem = ""  # why the device needs a reset, for a person who looks
        self._declare_capabilities()
        self._reset_device()

    def _declare_capabilities(self) -> None:
        self.declare(STATUS, 2, STATUS_CAPABILITIES, 0, 0xF900)
        self.declare(CAPABILITIES, 1, FIRST_CAPABILITY)
        at = FIRST_CAPABILITY
        for kind in (COMMON, ISR, DEVICE, NOTIFY, ACCESS):
            length = 20 if kind in (NOTIFY, ACCESS) else 16
            offset, size = PARTS.get(kind, (0, 0))
            following = 0 if kind == ACCESS else at + length
            fields = struct.pack("<BBBBB3xII", 9, following, length, kind, MEMORY_BAR, offset, size)
            if kind == NOTIFY:
                fields += struct.pack("<I", NOTIFY_MULTIPLIER)
            fields = fields.ljust(length, b"\0")
            self.declare(at, length, int.from_bytes(fields, "little"))
            at += length
        # Of the access capability BAR, offset, length and data can be written.
        self.declare(ACCESS_CAPABILITY + 4, 1, MEMORY_BAR, 0xFF)
        self.declare(ACCESS_CAPABILITY + 8, 12, 0, (1 << 96) - 1)

    # --- state of the device

    @property
    def offered(self) -> int:
        return self.model.features | GENERAL_FEATURES

    def _reset_device(self) -> None:
        """What writing 0 to the device status does (2.1.2)."""
        self.status = 0
        self.isr = 0
        self.driver_features = 0
        self.feature_select = [0, 0]
        self.queue_select = 0
        self.problem = ""
        for queue in self.queues:
            queue.reset()
        self.model.reset()
        self.set_intx(False)

    def reset(self) -> None:
        self._reset_device()
        super().reset()

    def interrupt(self, cause: int) -> None:
        """Sets a cause in the ISR status and asserts INTx# until the driver has read it."""
        self.isr |= cause
        self.set_intx(True)

    def config_changed(self) -> None:
        """Tells the driver that the device-specific configuration has changed."""
        if self.status & STATUS_DRIVER_OK:
            self.interrupt(ISR_CONFIG)

    def _set_status(self, value: int) -> None:
        if not value:
            self._reset_device()
            return
        if value & STATUS_FEATURES_OK and not self.status & STATUS_FEATURES_OK:
            modern = self.driver_features >> F_VERSION_1 & 1
            if self.driver_features & ~self.offered or not modern:
                value &= ~STATUS_FEATURES_OK  # 2.2.2: a subset that the device does not support
        if value & STATUS_DRIVER_OK and not self.status & STATUS_DRIVER_OK:
            self._accept()
        self.status = value | self.status & STATUS_NEEDS_RESET

    def _accept(self) -> None:
        self.model.accepted = features = self.driver_features & self.offered
        for queue in self.queues:
            queue.indirect = bool(features >> F_INDIRECT_DESC & 1)
            queue.event_index = bool(features >> F_EVENT_IDX & 1)

    def notify(self, index: int) -> None:
        """The driver has made buffers available in a queue."""
        if not self.status & STATUS_DRIVER_OK or self.status & STATUS_NEEDS_RESET or index >= len(self.queues):
            return
        if not self.queues[index].enabled or not self.command & COMMAND_MASTER:
            return
        self.work(index)

    def work(self, index: int) -> None:
        """Has the device work a queue off and tells the driver; also where the host has something new for it."""
        try:
            self.model.handle(index)
            wanted = [queue.wants_interrupt() for queue in self.queues if queue.enabled]
        except RingError as error:
            self.problem = str(error)
            self.status |= STATUS_NEEDS_RESET
            self.interrupt(ISR_CONFIG)
            return
        if any(wanted):
            self.interrupt(ISR_QUEUE)

    def _read_isr(self) -> int:
        value, self.isr = self.isr, 0
        self.set_intx(False)
        return value

    def _selected(self) -> VirtQueue | None:
        return self.queues[self.queue_select] if self.queue_select < len(self.queues) else None

    # --- the modern interface

    def _common(self, name: str) -> int:
        queue = self._selected()
        if name in ("device_feature_select", "driver_feature_select"):
            return self.feature_select[name == "driver_feature_select"]
        if name in ("device_feature", "driver_feature"):
            driver = name == "driver_feature"
            features = self.driver_features if driver else self.offered
            select = self.feature_select[driver]
            return features >> 32 * select & 0xFFFF_FFFF if select < 2 else 0
        if name in ("msix_config", "queue_msix_vector"):
            return NO_VECTOR
        if name == "num_queues":
            return len(self.queues)
        if name == "device_status":
            return self.status
        if name == "queue_select":
            return self.queue_select
        if queue is None or name == "config_generation":
            return 0
        if name == "queue_size":
            return queue.size
        if name == "queue_enable":
            return int(queue.enabled)
        if name == "queue_notify_off":
            return self.queue_select
        return int(getattr(queue, ADDRESSES[name]))

    def _set_common(self, name: str, value: int) -> None:
        queue = self._selected()
        if name in ("device_feature_select", "driver_feature_select"):
            self.feature_select[name == "driver_feature_select"] = value
        elif name == "driver_feature":
            select = self.feature_select[1]
            if select < 2 and not self.status & STATUS_FEATURES_OK:
                kept = self.driver_features & ~(0xFFFF_FFFF << 32 * select)
                self.driver_features = kept | value << 32 * select
        elif name == "device_status":
            self._set_status(value)
        elif name == "queue_select":
            self.queue_select = value
        elif queue is not None and not queue.enabled:  # 4.1.4.3.2: set up before it is enabled
            if name == "queue_size":
                if 0 < value <= queue.limit and not value & (value - 1):
                    queue.size = value
            elif name == "queue_enable":
                queue.enabled = value == 1
            elif name in ADDRESSES:
                setattr(queue, ADDRESSES[name], value)

    def _field(self, offset: int) -> tuple[int, int, str] | None:
        """Begin, size and name of the common configuration's field at an offset."""
        for begin, (size, name) in COMMON_FIELDS.items():
            if begin <= offset < begin + size:
                return begin, size, name
        return None

    def read_memory(self, offset: int, size: int) -> int:
        """BAR 4."""
        part = offset & ~0xFFF
        within = offset - part
        if part == PARTS[COMMON][0]:
            value = 0
            for lane in range(size):
                found = self._field(within + lane)
                if found is not None:
                    begin, _, name = found
                    value |= (self._common(name) >> 8 * (within + lane - begin) & 0xFF) << 8 * lane
            return value
        if part == PARTS[ISR][0]:
            return self._read_isr() if within == 0 else 0
        if part == PARTS[DEVICE][0]:
            return self._read_config(within, size)
        return 0

    def write_memory(self, offset: int, size: int, value: int) -> None:
        """BAR 4."""
        part = offset & ~0xFFF
        within = offset - part
        if part == PARTS[COMMON][0]:
            while size > 0:
                found = self._field(within)
                if found is None:
                    return
                begin, width, name = found
                step = min(size, begin + width - within)
                shift, mask = 8 * (within - begin), (1 << 8 * step) - 1
                old = self._common(name) if step < width else 0
                self._set_common(name, old & ~(mask << shift) | (value & mask) << shift)
                within, size, value = within + step, size - step, value >> 8 * step
        elif part == PARTS[DEVICE][0]:
            self.model.config_write(within, value.to_bytes(size, "little"))
        elif part == PARTS[NOTIFY][0]:
            self.notify(within // NOTIFY_MULTIPLIER)

    def _read_config(self, offset: int, size: int) -> int:
        return int.from_bytes(self.model.config_space()[offset : offset + size], "little")

    # --- access by configuration space (4.1.4.9)

    def config_read(self, offset: int, size: int) -> int:
        if ACCESS_CAPABILITY + 16 <= offset < ACCESS_CAPABILITY + 20 and (where := self._access()) is not None:
            value = self.read_memory(*where)
            return value >> 8 * (offset - ACCESS_CAPABILITY - 16) & (1 << 8 * size) - 1
        return super().config_read(offset, size)

    def config_written(self, offset: int, size: int) -> None:
        if offset == ACCESS_CAPABILITY + 16 and (where := self._access()) is not None:
            self.write_memory(*where, self.get(offset, 4) & (1 << 8 * where[1]) - 1)

    def _access(self) -> tuple[int, int] | None:
        """Offset and length that the access capability selects in BAR 4; None where it selects nothing."""
        bar, offset, length = struct.unpack_from("<B3xII", self.config, ACCESS_CAPABILITY + 4)
        if bar != MEMORY_BAR or length not in (1, 2, 4) or offset % length or offset + length > 0x4000:
            return None
        return offset, length

    # --- the legacy interface

    def read_legacy(self, offset: int, size: int) -> int:
        """BAR 0."""
        if offset >= LEGACY_CONFIG:
            return self._read_config(offset - LEGACY_CONFIG, size)
        if offset == 0x13:
            return self._read_isr()
        queue = self._selected()
        values = (
            (0x00, 4, self.offered & LEGACY_FEATURES), (0x04, 4, self.driver_features & LEGACY_FEATURES),
            (0x08, 4, queue.descriptors >> 12 if queue is not None else 0),
            (0x0C, 2, queue.limit if queue is not None else 0), (0x0E, 2, self.queue_select), (0x12, 1, self.status),
        )  # fmt: skip
        for begin, width, value in values:
            if begin <= offset < begin + width:
                return value >> 8 * (offset - begin) & (1 << 8 * size) - 1
        return 0

    def write_legacy(self, offset: int, size: int, value: int) -> None:
        """BAR 0; registers take their own width only."""
        if offset >= LEGACY_CONFIG:
            self.model.config_write(offset - LEGACY_CONFIG, value.to_bytes(size, "little"))
        elif (offset, size) == (0x04, 4):
            self.driver_features = value & self.offered
        elif (offset, size) == (0x08, 4):
            queue = self._selected()
            if queue is not None:
                if not value:
                    queue.reset()
                else:
                    queue.place_legacy(value)
        elif offset == 0x0E:
            self.queue_select = value & 0xFFFF
        elif offset == 0x10:
            self._legacy_notify(value & 0xFFFF)
        elif offset == 0x12:
            self._set_status(value & 0xFF & ~STATUS_FEATURES_OK)

    def _legacy_notify(self, index: int) -> None:
        # Old drivers use queues before DRIVER_OK (section 3.1.2).
        if not self.status & STATUS_DRIVER_OK and self.status:
            self._accept()
            self.status |= STATUS_DRIVER_OK
        self.notify(index)

    # --- save and load

    def save(self) -> dict[str, object]:
        return super().save() | {
            "device": (self.status, self.isr, self.driver_features, list(self.feature_select), self.queue_select),
            "queues": [{key: getattr(queue, key) for key in VirtQueue.STATE} for queue in self.queues],
            "model": self.model.save(),
            "accepted": self.model.accepted,
        }

    def load(self, state: dict[str, Any]) -> None:
        self.status, self.isr, self.driver_features, select, self.queue_select = state["device"]
        self.feature_select = list(select)
        if self.status & STATUS_DRIVER_OK:
            self._accept()
        for queue, saved in zip(self.queues, state["queues"], strict=True):
            for key in VirtQueue.STATE:
                setattr(queue, key, saved[key])
        self.model.load(state["model"])
        self.model.accepted = state["accepted"]
        super().load(state)
