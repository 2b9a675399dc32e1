"""Virtio SCSI host device (Virtual I/O Device 1.2, section 5.6): a bus of logical units, each target's unit 0.

Queues: control, event, one for requests.  Every command ends before the notification returns, so that task management
finds nothing to abort.  Left out: hot plug, events, protection information, several request queues.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

from x86emu.devices.block import behind, first_pieces, from_memory
from x86emu.devices.scsi import (
    CHECK_CONDITION,
    GOOD,
    INVALID_FIELD,
    INVALID_UNIT,
    REPORT_LUNS,
    CheckCondition,
    ScsiUnit,
    sense_data,
)
from x86emu.devices.virtio_device import VirtioDevice
from x86emu.devices.virtio_ring import Chain, VirtQueue

CONTROL, EVENT, REQUEST = 0, 1, 2
QUEUE_SIZE = 256
REQUEST_HEAD = 19  # LUN, identifier, attributes; the command descriptor block follows
RESPONSE_HEAD = 12  # sense length, residual, status qualifier, status, response; the sense data follow
CDB_SIZE, SENSE_SIZE = 32, 96  # defaults of the configuration fields (5.6.4)
LARGEST_CDB, LARGEST_SENSE = 260, 252
LARGEST_TRANSFER = 64 << 20

# Responses (5.6.6.1).
S_OK, S_OVERRUN, S_BAD_TARGET, S_FAILURE, S_INCORRECT_LUN = 0, 1, 3, 9, 12
S_FUNCTION_REJECTED = 11
T_TASK_MANAGEMENT, T_ASYNC_QUERY, T_ASYNC_SUBSCRIBE = 0, 1, 2
TMF_NEXUS_RESET, TMF_UNIT_RESET, TMF_LAST = 4, 5, 7


class VirtioScsi(VirtioDevice):
    """Targets 0, 1 ... with one logical unit each."""

    DEVICE_ID = 8
    TRANSITIONAL_PCI_ID = 0x1004
    CLASS_CODE = 0x010000
    QUEUES = (QUEUE_SIZE, QUEUE_SIZE, QUEUE_SIZE)
    FEATURES = 0
    STATE = ("_cdb_size", "_sense_size")

    def __init__(self, units: Sequence[ScsiUnit], *, name: str = "virtio-scsi") -> None:
        super().__init__(name)
        self.units = list(units)
        self.reset()

    def reset(self) -> None:
        super().reset()
        self._cdb_size, self._sense_size = CDB_SIZE, SENSE_SIZE
        for unit in self.units:
            unit.reset()

    def save(self) -> dict[str, object]:
        return super().save() | {"units": [unit.save() for unit in self.units]}

    def load(self, state: dict[str, object]) -> None:
        saved = state["units"]
        assert isinstance(saved, list)
        for unit, own in zip(self.units, saved, strict=True):
            unit.load(own)
        super().load(state)

    # --- configuration (5.6.4)

    def config_space(self) -> bytes:
        return struct.pack(
            "<IIIIIIIHHI", 1, QUEUE_SIZE - 2, 0xFFFF, QUEUE_SIZE - 2, 16, self._sense_size, self._cdb_size, 0,
            max(len(self.units) - 1, 0), 0,
        )  # fmt: skip

    def config_write(self, offset: int, data: bytes) -> None:
        value = int.from_bytes(data, "little")
        if offset == 20 and len(data) == 4:
            self._sense_size = min(value, LARGEST_SENSE)
        elif offset == 24 and len(data) == 4:
            self._cdb_size = min(max(value, 6), LARGEST_CDB)

    def handle(self, index: int) -> None:
        queue = self.queues[index]
        if index == EVENT:
            return  # the driver's buffers wait for events, of which there are none
        while (chain := queue.pop()) is not None:
            if index == CONTROL:
                answer = self._control(queue, chain)
                queue.scatter(chain, answer)
                queue.push(chain, min(len(answer), chain.writable_bytes))
            else:
                queue.push(chain, self._request(queue, chain))

    def _unit(self, lun: bytes) -> tuple[ScsiUnit | None, int]:
        """The unit that an eight-byte LUN addresses (5.6.6.1), and the response where there is none."""
        if lun[0] != 1 or lun[1] >= len(self.units):
            return None, S_BAD_TARGET
        number = int.from_bytes(lun[2:4], "big") & 0x3FFF
        return (self.units[lun[1]], S_OK) if not number else (None, S_INCORRECT_LUN)

    # --- control queue

    def _control(self, queue: VirtQueue, chain: Chain) -> bytes:
        request = bytes(from_memory(queue.dma, first_pieces(chain.readable, 24)))
        if len(request) < 16:
            return bytes((S_FAILURE,))
        kind, subtype = struct.unpack_from("<II", request)
        if kind == T_TASK_MANAGEMENT:
            unit, response = self._unit(request[8:16])
            if unit is not None and subtype in (TMF_NEXUS_RESET, TMF_UNIT_RESET):
                unit.reset()
            return bytes((response if subtype <= TMF_LAST else S_FUNCTION_REJECTED,))
        if kind in (T_ASYNC_QUERY, T_ASYNC_SUBSCRIBE):
            return struct.pack("<IB", 0, S_OK)
        return bytes((S_FUNCTION_REJECTED,))

    # --- request queue

    def _request(self, queue: VirtQueue, chain: Chain) -> int:
        """Carries one out and answers; the bytes written into its buffers."""
        head, response_size = REQUEST_HEAD + self._cdb_size, RESPONSE_HEAD + self._sense_size
        room = chain.writable_bytes - response_size
        if chain.readable_bytes < head or room < 0 or max(chain.readable_bytes, room) > LARGEST_TRANSFER:
            return 0
        block = bytes(from_memory(queue.dma, first_pieces(chain.readable, head)))
        cdb = block[REQUEST_HEAD:].ljust(CDB_SIZE, b"\0")
        unit, response = self._unit(block[:8])
        data_out = behind(chain.readable, head)
        data_in = behind(chain.writable, response_size)
        status, sense, moved, expected = GOOD, b"", 0, chain.readable_bytes - head or room
        if unit is None and response == S_INCORRECT_LUN and cdb[0] in (0x12, REPORT_LUNS):
            response, moved = S_OK, self._absent(queue, cdb, data_in)
        elif unit is None and response == S_INCORRECT_LUN:
            response, status, sense = S_OK, CHECK_CONDITION, sense_data(INVALID_UNIT)
        elif unit is not None:
            try:
                moved, response = self._command(unit, cdb, queue, data_out, data_in)
            except CheckCondition as check:
                status, sense = CHECK_CONDITION, sense_data(check.sense, check.information)
        sense = sense[: self._sense_size]
        answer = struct.pack("<IIHBB", len(sense), expected - moved, 0, status, response) + sense
        queue.scatter(chain, answer.ljust(response_size, b"\0"))
        return response_size + (moved if room else 0)

    def _command(
        self,
        unit: ScsiUnit,
        cdb: bytes,
        queue: VirtQueue,
        data_out: list[tuple[int, int]],
        data_in: list[tuple[int, int]],
    ) -> tuple[int, int]:
        """Bytes moved, and the response."""
        if cdb[0] == REPORT_LUNS:
            luns = struct.pack(">I4xQ", 8, 0)[: int.from_bytes(cdb[6:10], "big")]
            return self._store(queue, luns, data_in), S_OK
        phase = unit.begin(cdb)
        if not phase.wanted:
            total = len(phase.data) + (0 if phase.form else phase.count * unit.SECTOR)
            overrun = total > sum(length for _, length in data_in) and not phase.data
            return unit.move_in(phase, queue.dma, data_in), S_OVERRUN if overrun else S_OK
        available = sum(length for _, length in data_out)
        if available < phase.wanted:
            raise unit.check(INVALID_FIELD)
        unit.finish(cdb, from_memory(queue.dma, first_pieces(data_out, phase.wanted)))
        unit.sense = (0, 0, 0)
        return phase.wanted, S_OK

    def _absent(self, queue: VirtQueue, cdb: bytes, data_in: list[tuple[int, int]]) -> int:
        """INQUIRY and REPORT LUNS at a unit that is not there (SPC-3, 6.4.1): no device, type 1Fh."""
        if cdb[0] == REPORT_LUNS:
            answer = struct.pack(">I4xQ", 8, 0)[: int.from_bytes(cdb[6:10], "big")]
        else:
            answer = bytes((0x7F, 0, 5, 2, 31)).ljust(36, b"\0")[: int.from_bytes(cdb[3:5], "big")]
        return self._store(queue, answer, data_in)

    @staticmethod
    def _store(queue: VirtQueue, data: bytes, data_in: list[tuple[int, int]]) -> int:
        moved = 0
        for address, length in first_pieces(data_in, len(data)):
            queue.dma.write(address, data[moved : moved + length])
            moved += length
        return moved
