"""NVMe controller with one namespace (NVM Express 1.4, NVM command set), PCI class 010802h.

Registers: section 3.1; queues: 4.1 to 4.6; PRP: 4.3; admin commands: 5; I/O commands: 6.  INTA#, or MSI-X with a vector
for each completion queue (7.5).  Left out: SGLs, metadata, several namespaces, host memory buffer, firmware update,
namespace management.  A doorbell is worked off at once.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from x86emu.bus.pci import COMMAND_MASTER, Bar, FunctionDma, PciFunction
from x86emu.bus.pci_messages import Msix
from x86emu.devices.block import DiscardBackend, from_memory, read_to_memory

if TYPE_CHECKING:
    from x86emu.bus.dma import Dma

PAGE = 4096
SECTOR = 512
LARGEST_QUEUE = 1024
QUEUE_PAIRS = 8  # of I/O queues
VECTORS = QUEUE_PAIRS + 1
MSIX_BAR = 4
LARGEST_TRANSFER_PAGES = 256  # MDTS 8: 1 MiB
DOORBELLS = 0x1000

# Controller registers (3.1): offsets.
CAP, VS, INTMS, INTMC, CC, CSTS, AQA, ASQ, ACQ = 0x00, 0x08, 0x0C, 0x10, 0x14, 0x1C, 0x24, 0x28, 0x30
VERSION = 0x0001_0400
# Contiguous queues required, 2.5 s to become ready at most, NVM command set, pages of 4 KiB.
CAPABILITIES = (LARGEST_QUEUE - 1) | 1 << 16 | 5 << 24 | 1 << 37
CC_ENABLE, CC_SHUTDOWN = 0x0001, 0xC000
CSTS_READY, CSTS_FATAL, CSTS_SHUTDOWN_DONE = 0x1, 0x2, 0x8

# Status codes: type << 8 | code (4.5).
OK, INVALID_OPCODE, INVALID_FIELD, DATA_ERROR, INVALID_NAMESPACE = 0x000, 0x001, 0x002, 0x004, 0x00B
LBA_RANGE, WRITE_FAULT, UNRECOVERED_READ = 0x080, 0x280, 0x281
INVALID_CQ, INVALID_QUEUE, INVALID_SIZE = 0x100, 0x101, 0x102
DO_NOT_RETRY = 0x4000
NO_ANSWER = -1

IO_FLUSH, IO_WRITE, IO_READ, IO_WRITE_ZEROES, IO_DATASET = 0x00, 0x01, 0x02, 0x08, 0x09
FEATURE_WRITE_CACHE, FEATURE_QUEUES = 0x06, 0x07
PLAIN_FEATURES = (0x01, 0x02, 0x04, 0x05, 0x06, 0x08, 0x09, 0x0A, 0x0B)


@dataclass
class Queue:
    """A submission or completion queue; for the former `completion` is its completion queue's number."""

    base: int
    size: int
    head: int = 0
    tail: int = 0
    completion: int = 0
    phase: int = 1
    interrupt: bool = True
    vector: int = 0


class Fatal(Exception):
    """The queues themselves cannot be used: controller fatal status."""


class CommandError(Exception):
    """A command ends with a status."""

    def __init__(self, status: int) -> None:
        super().__init__(hex(status))
        self.status = status


class Nvme(PciFunction):
    """The controller as a PCI function; `in_memory(address, length)` says whether a range is RAM."""

    def __init__(
        self,
        backend: DiscardBackend,
        dma: Dma,
        in_memory: Callable[[int, int], bool],
        *,
        name: str = "nvme",
        serial: str = "X86EMUN0",
    ) -> None:
        super().__init__(
            name,
            vendor_id=0x1B36,
            device_id=0x0010,
            class_code=0x010802,
            revision=2,
            subsystem_vendor_id=0x1AF4,
            subsystem_id=0x1100,
            interrupt_pin=1,
            bars=(Bar(0, 0x4000, "memory64", self.read, self.write, name),),
        )
        self.msix = Msix(self, VECTORS, MSIX_BAR)
        self.backend = backend
        self.serial = serial
        self.dma = FunctionDma(self, dma)
        self.in_memory = in_memory
        self._reset_controller()

    def _reset_controller(self) -> None:
        """Disabled: all registers but AQA, ASQ and ACQ at their defaults (7.3.2)."""
        self.registers = {INTMS: 0, CC: 0, CSTS: 0, AQA: 0, ASQ: 0, ACQ: 0}
        self._disable()

    def _disable(self) -> None:
        self.submission: dict[int, Queue] = {}
        self.completion: dict[int, Queue] = {}
        self.features = {FEATURE_WRITE_CACHE: 1}
        self.waiting_events: list[int] = []  # command identifiers of asynchronous event requests
        self.problem = ""
        self._update_interrupt()

    def reset(self) -> None:
        self._reset_controller()
        super().reset()

    # --- registers

    def read(self, offset: int, size: int) -> int:
        """BAR 0; doorbells read as zeros."""
        if offset >= DOORBELLS:
            return 0
        image = struct.pack(
            "<QIIIIIIIIQQ", CAPABILITIES, VERSION, self.registers[INTMS], self.registers[INTMS], self.registers[CC], 0,
            self.registers[CSTS], 0, self.registers[AQA], self.registers[ASQ], self.registers[ACQ],
        )  # fmt: skip
        return int.from_bytes(image[offset : offset + size], "little")

    def write(self, offset: int, size: int, value: int) -> None:
        """BAR 0; by dwords, as the specification asks of drivers."""
        if size != 4 or offset % 4:
            return
        registers = self.registers
        if offset >= DOORBELLS:
            self._doorbell(offset - DOORBELLS >> 2, value & 0xFFFF)
        elif offset == INTMS:
            registers[INTMS] |= value
            self._update_interrupt()
        elif offset == INTMC:
            registers[INTMS] &= ~value
            self._update_interrupt()
        elif offset == CC:
            self._configure(value)
        elif offset == AQA:
            registers[AQA] = value & 0x0FFF_0FFF
        elif offset in (ASQ, ACQ):
            registers[offset] = registers[offset] & ~0xFFFF_FFFF | value & 0xFFFF_F000
        elif offset in (ASQ + 4, ACQ + 4):
            registers[offset - 4] = registers[offset - 4] & 0xFFFF_FFFF | value << 32

    def _configure(self, value: int) -> None:
        registers = self.registers
        before, registers[CC] = registers[CC], value & 0x00FF_FFF1
        if value & CC_ENABLE and not before & CC_ENABLE:
            admin_sq, admin_cq = (registers[AQA] & 0xFFF) + 1, (registers[AQA] >> 16 & 0xFFF) + 1
            if value >> 7 & 0xF or value >> 4 & 7 or min(admin_sq, admin_cq) < 2:  # pages of 4 KiB, NVM commands
                registers[CSTS] = CSTS_FATAL
                return
            self.submission[0] = Queue(registers[ASQ], admin_sq)
            self.completion[0] = Queue(registers[ACQ], admin_cq)
            registers[CSTS] = CSTS_READY
        elif not value & CC_ENABLE and before & CC_ENABLE:
            registers[CSTS] = 0
            self._disable()
        if value & CC_SHUTDOWN:
            try:
                self.backend.flush()
            except OSError:
                pass  # there is nobody to be told; the image's owner sees it again when it is closed
            registers[CSTS] |= CSTS_SHUTDOWN_DONE

    def _update_interrupt(self) -> None:
        # Of the pin's interrupts INTMS bit 0 masks all: they are of vector 0 (7.5.1).
        pending = any(queue.interrupt and queue.head != queue.tail for queue in self.completion.values())
        self.set_intx(pending and not self.registers[INTMS] & 1)

    # --- queues

    def _doorbell(self, number: int, value: int) -> None:
        """4.1: number 2y is submission queue y's tail, 2y + 1 completion queue y's head."""
        if not self.registers[CSTS] & CSTS_READY or self.registers[CSTS] & CSTS_FATAL:
            return
        queues = self.completion if number & 1 else self.submission
        queue = queues.get(number >> 1)
        if queue is None or value >= queue.size:
            return  # an asynchronous event on hardware; nothing else happens there either
        if number & 1:
            queue.head = value
            self._update_interrupt()
            for index, submission in list(self.submission.items()):  # a full completion queue may have held one back
                if submission.completion == number >> 1:
                    self._work(index)
        else:
            queue.tail = value
            self._work(number >> 1)

    def _work(self, number: int) -> None:
        if not self.command & COMMAND_MASTER:
            return
        try:
            while (queue := self.submission.get(number)) is not None and queue.head != queue.tail:
                answers = self.completion[queue.completion]
                if (answers.tail + 1) % answers.size == answers.head:
                    return
                entry = self._fetch(queue.base + 64 * queue.head, 64)
                queue.head = (queue.head + 1) % queue.size
                self._command(number, queue, entry)
        except Fatal as error:
            self.problem = str(error)
            self.registers[CSTS] |= CSTS_FATAL

    def _fetch(self, address: int, length: int) -> bytes:
        if not self.in_memory(address, length):
            raise Fatal(f"a queue entry at {address:#x} lies outside memory")
        return self.dma.read(address, length)

    def _command(self, number: int, queue: Queue, entry: bytes) -> None:
        identifier = int.from_bytes(entry[2:4], "little")
        result = 0
        try:
            result = self._admin(entry, identifier) if not number else self._io(entry)
            status = OK
        except CommandError as error:
            status = error.status | (DO_NOT_RETRY if error.status else 0)
        if result != NO_ANSWER:
            self._complete(number, queue, identifier, result, status)

    def _complete(self, number: int, queue: Queue, identifier: int, result: int, status: int) -> None:
        answers = self.completion[queue.completion]
        address = answers.base + 16 * answers.tail
        if not self.in_memory(address, 16):
            raise Fatal(f"a completion queue entry at {address:#x} lies outside memory")
        self.dma.write(
            address, struct.pack("<IIHHHH", result, 0, queue.head, number, identifier, status << 1 | answers.phase)
        )
        answers.tail += 1
        if answers.tail == answers.size:
            answers.tail, answers.phase = 0, answers.phase ^ 1
        self._update_interrupt()
        if answers.interrupt:
            self.signal(answers.vector)

    # --- data

    def _pages(self, entry: bytes, length: int) -> list[tuple[int, int]]:
        """The pieces of memory that PRP 1, PRP 2 or the list there name (4.3)."""
        if entry[1] & 0xC0:
            raise CommandError(INVALID_FIELD)  # SGL
        first, second = struct.unpack_from("<QQ", entry, 24)
        if length > LARGEST_TRANSFER_PAGES * PAGE:
            raise CommandError(INVALID_FIELD)
        part = min(PAGE - first % PAGE, length)
        pieces, left = [(first, part)], length - part
        if left > PAGE:
            at, room = second & ~7, (PAGE - second % PAGE) // 8
            while left:
                if not self.in_memory(at, 8 * room):
                    raise CommandError(DATA_ERROR)
                listed = struct.unpack(f"<{room}Q", self.dma.read(at, 8 * room))
                more = -(-left // PAGE) > room
                for page in listed[: room - 1 if more else room]:
                    if left:
                        if page % PAGE:
                            raise CommandError(0x013)  # PRP offset invalid
                        pieces.append((page, min(PAGE, left)))
                        left -= min(PAGE, left)
                if more:
                    if listed[-1] % PAGE:
                        raise CommandError(0x013)
                    at, room = listed[-1], PAGE // 8
        elif left:
            if second % PAGE:
                raise CommandError(0x013)
            pieces.append((second, left))
        joined: list[tuple[int, int]] = []
        for address, part in pieces:
            if not self.in_memory(address, part):
                raise CommandError(DATA_ERROR)
            if joined and sum(joined[-1]) == address:
                joined[-1] = (joined[-1][0], joined[-1][1] + part)
            else:
                joined.append((address, part))
        return joined

    def _to_host(self, entry: bytes, data: bytes) -> None:
        at = 0
        for address, part in self._pages(entry, len(data)):
            self.dma.write(address, data[at : at + part])
            at += part

    # --- admin commands (chapter 5)

    def _admin(self, entry: bytes, identifier: int) -> int:
        opcode = entry[0]
        d10, d11 = struct.unpack_from("<II", entry, 40)
        number, size = d10 & 0xFFFF, (d10 >> 16) + 1
        if opcode in (0x00, 0x04):  # delete I/O submission, completion queue
            queues = self.completion if opcode == 0x04 else self.submission
            if not number or number not in queues:
                raise CommandError(INVALID_QUEUE)
            if opcode == 0x04 and any(queue.completion == number for queue in self.submission.values()):
                raise CommandError(0x10C)  # invalid queue deletion
            del queues[number]
            self._update_interrupt()
        elif opcode in (0x01, 0x05):
            self._create_queue(opcode == 0x05, number, size, struct.unpack_from("<Q", entry, 24)[0], d11)
        elif opcode == 0x02:  # get log page: all that there is to tell is zero
            length = ((d11 & 0xFFFF) << 16 | d10 >> 16) * 4 + 4
            if d10 & 0xFF not in (1, 2, 3, 5):
                raise CommandError(0x109)
            self._to_host(entry, bytes(min(length, PAGE)))
        elif opcode == 0x06:
            self._to_host(entry, self._identify(d10 & 0xFF, int.from_bytes(entry[4:8], "little")))
        elif opcode == 0x08:
            return 1  # abort: nothing is ever under way, so the command was not aborted
        elif opcode in (0x09, 0x0A):
            return self._feature(opcode == 0x09, d10 & 0xFF, d11)
        elif opcode == 0x0C:  # asynchronous event request: stays until there is one
            if len(self.waiting_events) >= 4:
                raise CommandError(0x105)
            self.waiting_events.append(identifier)
            return NO_ANSWER
        else:
            raise CommandError(INVALID_OPCODE)
        return 0

    def _create_queue(self, completion: bool, number: int, size: int, base: int, flags: int) -> None:
        queues = self.completion if completion else self.submission
        if not 1 <= number <= QUEUE_PAIRS or number in queues:
            raise CommandError(INVALID_QUEUE)
        if not 2 <= size <= LARGEST_QUEUE:
            raise CommandError(INVALID_SIZE)
        if not flags & 1 or base % PAGE:  # physically contiguous only
            raise CommandError(INVALID_FIELD)
        if completion:
            if flags >> 16 >= (VECTORS if self.msix.enabled else 1):
                raise CommandError(0x108)  # invalid interrupt vector
            queues[number] = Queue(base, size, interrupt=bool(flags & 2), vector=flags >> 16)
            return
        if flags >> 16 not in self.completion or not flags >> 16:
            raise CommandError(INVALID_CQ)
        queues[number] = Queue(base, size, completion=flags >> 16)

    def _feature(self, set_it: bool, feature: int, value: int) -> int:
        if feature == FEATURE_QUEUES:
            return (QUEUE_PAIRS - 1) << 16 | QUEUE_PAIRS - 1
        if feature not in PLAIN_FEATURES:
            raise CommandError(INVALID_FIELD)
        if set_it:
            self.features[feature] = value
            return 0
        return self.features.get(feature, 0)

    def _identify(self, what: int, namespace: int) -> bytes:
        data = bytearray(PAGE)
        if what == 0x00:  # namespace
            if namespace != 1:
                raise CommandError(INVALID_NAMESPACE)
            struct.pack_into("<QQQ", data, 0, *(self.backend.sectors,) * 3)
            data[130] = 9  # LBA format 0: 512 bytes
        elif what == 0x01:  # controller
            struct.pack_into("<HH", data, 0, 0x1B36, 0x1AF4)
            data[4:24] = self.serial.encode("ascii", "replace")[:20].ljust(20)
            data[24:64] = b"X86EMU NVME".ljust(40)
            data[64:72] = b"1.0".ljust(8)
            data[72] = 6  # arbitration burst
            data[77] = 8  # MDTS: 2^8 pages
            struct.pack_into("<I", data, 80, VERSION)
            data[258], data[259] = 3, 3  # abort and event request limits
            data[260], data[262] = 0x03, 0  # firmware slot 1, read-only; one error log entry
            data[512], data[513] = 0x66, 0x44  # queue entries of 64 and 16 bytes
            struct.pack_into("<I", data, 516, 1)
            struct.pack_into("<H", data, 520, 0x0C)  # write zeroes, dataset management
            data[525] = 1  # volatile write cache
            data[768:1024] = b"nqn.2014-08.org.nvmexpress:uuid:x86emu".ljust(256, b"\0")
        elif what == 0x02:  # active namespaces above the given one
            struct.pack_into("<I", data, 0, 1 if namespace < 1 else 0)
        elif what == 0x03:  # namespace identification descriptors: EUI-64
            if namespace != 1:
                raise CommandError(INVALID_NAMESPACE)
            data[0:12] = bytes((1, 8, 0, 0)) + self.serial.encode("ascii", "replace")[:8].ljust(8, b"0")
        else:
            raise CommandError(INVALID_FIELD)
        return bytes(data)

    # --- I/O commands (chapter 6)

    def _io(self, entry: bytes) -> int:
        opcode = entry[0]
        namespace = int.from_bytes(entry[4:8], "little")
        if namespace != 1 and not (opcode == IO_FLUSH and namespace == 0xFFFF_FFFF):
            raise CommandError(INVALID_NAMESPACE)
        sector, d12 = struct.unpack_from("<QI", entry, 40)
        count = (d12 & 0xFFFF) + 1
        reading = opcode == IO_READ
        if opcode in (IO_READ, IO_WRITE, IO_WRITE_ZEROES) and sector + count > self.backend.sectors:
            raise CommandError(LBA_RANGE)
        try:
            if reading:
                pages = self._pages(entry, count * SECTOR)  # before the disk is bothered
                read_to_memory(self.backend, sector, self.dma, pages)
            elif opcode == IO_WRITE:
                self.backend.write(sector, from_memory(self.dma, self._pages(entry, count * SECTOR)))
            elif opcode == IO_FLUSH:
                self.backend.flush()
            elif opcode == IO_WRITE_ZEROES:
                self.backend.write_zeroes(sector, count, unmap=bool(d12 >> 25 & 1))
            elif opcode == IO_DATASET:
                self._dataset(entry)
            else:
                raise CommandError(INVALID_OPCODE)
            durable = d12 >> 30 & 1 or not self.features[FEATURE_WRITE_CACHE] & 1
            if durable and opcode in (IO_WRITE, IO_WRITE_ZEROES):
                self.backend.flush()
        except OSError:
            raise CommandError(UNRECOVERED_READ if reading else WRITE_FAULT) from None
        return 0

    def _dataset(self, entry: bytes) -> None:
        """Dataset management: of its hints only deallocation means something here."""
        ranges, attributes = entry[40] + 1, entry[44]
        if not attributes & 4:
            return
        table = bytes(from_memory(self.dma, self._pages(entry, 16 * ranges)))
        for _, count, sector in struct.iter_unpack("<IIQ", table):
            if sector + count > self.backend.sectors:
                raise CommandError(LBA_RANGE)
            self.backend.discard(sector, count)

    # --- state

    def save(self) -> dict[str, object]:
        return super().save() | {
            "registers": dict(self.registers),
            "submission": {number: asdict(queue) for number, queue in self.submission.items()},
            "completion": {number: asdict(queue) for number, queue in self.completion.items()},
            "features": dict(self.features),
            "waiting_events": list(self.waiting_events),
        }

    def load(self, state: dict[str, Any]) -> None:
        self.registers = dict(state["registers"])
        self.submission = {number: Queue(**queue) for number, queue in state["submission"].items()}
        self.completion = {number: Queue(**queue) for number, queue in state["completion"].items()}
        self.features = dict(state["features"])
        self.waiting_events = list(state["waiting_events"])
        super().load(state)
