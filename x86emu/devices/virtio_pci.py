"""Virtio over PCI (Virtual I/O Device 1.2, section 4.1): a transitional function, 1AF4:1000h and up.

BAR 0 (I/O) is the legacy interface (4.1.4.10); BAR 4 (memory) holds common configuration, ISR, device configuration
and notifications, found by the vendor capabilities at 40h.  The configuration access capability (4.1.4.9) works.
MSI-X (4.1.5.1.2): one vector for the configuration and one for each queue, table in BAR 1; where it is on, the legacy
interface has its two vector registers too.  Left out: packed queues.  A notification is worked off at once.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from x86emu.bus.pci import COMMAND_MASTER, Bar, FunctionDma, PciFunction
from x86emu.bus.pci_messages import Msix
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
VENDOR_CAPABILITY = 0x09
NOTIFY_MULTIPLIER = 4
MSIX_BAR = 1

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
LEGACY_CONFIG, LEGACY_CONFIG_MSIX = 0x14, 0x18


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
        self.queues = [VirtQueue(port, in_memory, size) for size in model.queue_sizes]
        model.queues, model.wake, model.config_changed = self.queues, self.notify, self.config_changed
        self.problem = ""  # why the device needs a reset, for a person who looks
        self._declare_capabilities()
        self.msix = Msix(self, len(self.queues) + 1, MSIX_BAR)
        self._reset_device()

    def _declare_capabilities(self) -> None:
        for kind in (COMMON, ISR, DEVICE, NOTIFY):
            offset, size = PARTS[kind]
            tail = struct.pack("<I", NOTIFY_MULTIPLIER) if kind == NOTIFY else b""
            self.add_capability(
                VENDOR_CAPABILITY, struct.pack("<BBB3xII", 16 + len(tail), kind, MEMORY_BAR, offset, size) + tail
            )
        # Of the access capability BAR, offset, length and data can be written.
        self.access = self.add_capability(
            VENDOR_CAPABILITY,
            struct.pack("<BBB3x12x", 20, ACCESS, MEMORY_BAR),
            bytes(2) + b"\xff" + bytes(3) + b"\xff" * 12,
        )

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
        self.generation = 0
        self.config_vector = NO_VECTOR
        self.queue_vectors = [NO_VECTOR] * len(self.queues)
        self.problem = ""
        for queue in self.queues:
            queue.reset()
        self.model.reset()
        self.set_intx(False)

    def reset(self) -> None:
        self._reset_device()
        super().reset()

    def interrupt(self, cause: int, vector: int) -> None:
        """Sends the message `vector`; without MSI-X sets a cause in the ISR status, and INTx# until it was read."""
        if self.msix.enabled:
            if vector != NO_VECTOR:
                self.signal(vector)
            return
        self.isr |= cause
        self.set_intx(True)

    def config_changed(self) -> None:
        """Tells the driver that the device-specific configuration has changed."""
        self.generation = self.generation + 1 & 0xFF
        if self.status & STATUS_DRIVER_OK:
            self.interrupt(ISR_CONFIG, self.config_vector)

    def _vector(self, value: int) -> int:
        """What a vector register reads after `value` was written: a vector that is not there is none (4.1.5.1.2)."""
        return value if value < self.msix.vectors else NO_VECTOR

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
            wanted = [number for number, queue in enumerate(self.queues) if queue.enabled and queue.wants_interrupt()]
        except RingError as error:
            self.problem = str(error)
            self.status |= STATUS_NEEDS_RESET
            self.interrupt(ISR_CONFIG, self.config_vector)
            return
        for vector in dict.fromkeys(self.queue_vectors[number] for number in wanted):
            self.interrupt(ISR_QUEUE, vector)

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
        if name == "msix_config":
            return self.config_vector
        if name == "config_generation":
            return self.generation
        if name == "num_queues":
            return len(self.queues)
        if name == "device_status":
            return self.status
        if name == "queue_select":
            return self.queue_select
        if queue is None:
            return NO_VECTOR if name == "queue_msix_vector" else 0
        if name == "queue_msix_vector":
            return self.queue_vectors[self.queue_select]
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
        elif name == "msix_config":
            self.config_vector = self._vector(value)
        elif name == "queue_msix_vector":
            if queue is not None:
                self.queue_vectors[self.queue_select] = self._vector(value)
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
        if self.access + 16 <= offset < self.access + 20 and (where := self._access()) is not None:
            value = self.read_memory(*where)
            return value >> 8 * (offset - self.access - 16) & (1 << 8 * size) - 1
        return super().config_read(offset, size)

    def config_written(self, offset: int, size: int) -> None:
        if offset == self.access + 16 and (where := self._access()) is not None:
            self.write_memory(*where, self.get(offset, 4) & (1 << 8 * where[1]) - 1)

    def _access(self) -> tuple[int, int] | None:
        """Offset and length that the access capability selects in BAR 4; None where it selects nothing."""
        bar, offset, length = struct.unpack_from("<B3xII", self.config, self.access + 4)
        if bar != MEMORY_BAR or length not in (1, 2, 4) or offset % length or offset + length > 0x4000:
            return None
        return offset, length

    # --- the legacy interface

    @property
    def _legacy_config(self) -> int:
        return LEGACY_CONFIG_MSIX if self.msix.enabled else LEGACY_CONFIG

    def read_legacy(self, offset: int, size: int) -> int:
        """BAR 0."""
        if offset >= self._legacy_config:
            return self._read_config(offset - self._legacy_config, size)
        if offset == 0x13:
            return self._read_isr()
        queue = self._selected()
        values = (
            (0x00, 4, self.offered & LEGACY_FEATURES), (0x04, 4, self.driver_features & LEGACY_FEATURES),
            (0x08, 4, queue.descriptors >> 12 if queue is not None else 0),
            (0x0C, 2, queue.limit if queue is not None else 0), (0x0E, 2, self.queue_select), (0x12, 1, self.status),
            (0x14, 2, self._common("msix_config")), (0x16, 2, self._common("queue_msix_vector")),
        )  # fmt: skip
        for begin, width, value in values:
            if begin <= offset < begin + width:
                return value >> 8 * (offset - begin) & (1 << 8 * size) - 1
        return 0

    def write_legacy(self, offset: int, size: int, value: int) -> None:
        """BAR 0; registers take their own width only."""
        if offset >= self._legacy_config:
            self.model.config_write(offset - self._legacy_config, value.to_bytes(size, "little"))
        elif offset in (0x14, 0x16):
            self._set_common("msix_config" if offset == 0x14 else "queue_msix_vector", value & 0xFFFF)
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
            "vectors": (self.generation, self.config_vector, list(self.queue_vectors)),
            "queues": [{key: getattr(queue, key) for key in VirtQueue.STATE} for queue in self.queues],
            "model": self.model.save(),
            "accepted": self.model.accepted,
        }

    def load(self, state: dict[str, Any]) -> None:
        self.status, self.isr, self.driver_features, select, self.queue_select = state["device"]
        self.feature_select = list(select)
        self.generation, self.config_vector, vectors = state["vectors"]
        self.queue_vectors = list(vectors)
        if self.status & STATUS_DRIVER_OK:
            self._accept()
        for queue, saved in zip(self.queues, state["queues"], strict=True):
            for key in VirtQueue.STATE:
                setattr(queue, key, saved[key])
        self.model.load(state["model"])
        self.model.accepted = state["accepted"]
        super().load(state)
