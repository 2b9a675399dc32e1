# cython: language_level=3
# The two address spaces of a PC (Intel SDM vol. 1, chapters 3.3 and 19): 64 KiB of I/O ports and memory-mapped I/O.
# An access that no device claims reads as all ones and drops writes, as a bus with pull-ups does.  An access that is
# wider than a device takes, or that runs over the end of its range, is split little-endian, as the ISA bridge does.
"""Port and MMIO spaces: who answers at which address, for Python and for the processor core."""
from collections.abc import Callable

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.long cimport PyLong_AsUnsignedLongLongMask
from cpython.ref cimport PyObject
from libc.stdint cimport uint8_t, uint16_t, uint64_t
from libc.stdlib cimport free, realloc
from libc.string cimport memcpy, memset

cimport cython

from x86emu.bus.handler_calls cimport call_read, call_write, size_mask
from x86emu.bus.platform cimport Wiring, bus_read_t, bus_write_t

from x86emu.errors import BusError

# The handlers' types, as the stub file spells them.
ReadHandler = Callable[[int, int], int]
WriteHandler = Callable[[int, int, int], object]
ReadBlock = Callable[[int, int, int], bytes]
WriteBlock = Callable[[int, int, bytes], int]


cdef inline int widest_step(int sizes, int size) noexcept nogil:
    """The widest access that the device takes and that is no wider than `size`; `size` itself if it takes none."""
    cdef int step = size
    while step > 0:
        if sizes & step:
            return step
        step >>= 1
    return size


@cython.final
cdef class NativeHandlers:
    """C entry points of a Cython device, for `map(..., native=...)`; made by the device itself."""


cdef NativeHandlers native_handlers(object owner, void* device, bus_read_t read, bus_write_t write):
    cdef NativeHandlers handlers = NativeHandlers.__new__(NativeHandlers)
    handlers.owner = owner
    handlers.device = device
    handlers.read = read
    handlers.write = write
    return handlers


@cython.final
cdef class Region:
    """A range of addresses with its handlers. `reads` and `writes` count accesses (a block transfer's elements too)."""

    def __repr__(self):
        state = "" if self.mapped else ", not decoded"
        return f"<Region {self.name} {self.base:#x}..{self.base + self.length - 1:#x}{state}>"

    cdef uint64_t handle_read(self, uint64_t offset, int size) except? 0xFFFFFFFFFFFFFFFFULL:
        self.reads += 1
        if self.native is not None:
            return self.native.read(self.native.device, offset, size) & size_mask(size)
        cdef uint64_t value = 0
        if not call_read(self.read_handler, offset, size, &value):
            return 0xFFFFFFFFFFFFFFFFULL         # the exception is set
        return value

    cdef int handle_write(self, uint64_t offset, int size, uint64_t value) except -1:
        self.writes += 1
        if self.native is not None:
            self.native.write(self.native.device, offset, size, value)
        elif not call_write(self.write_handler, offset, size, value):
            return -1                            # the exception is set
        return 0


def _floating_read(offset, size):
    return 0xFFFFFFFFFFFFFFFF


def _ignored_write(offset, size, value):
    return None


cdef class AddressSpace:
    """What PortSpace and MmioSpace share. A region claims its addresses alone; `limit` is the space's size in bytes."""

    limit = 0

    def __init__(self, Wiring wiring=None):
        self.wiring = wiring
        self.regions = []

    def map(self, base, length, read, write, str name, *, sizes=(1, 2, 4), read_block=None, write_block=None,
            device=None, NativeHandlers native=None, bint may_overlap=False):
        """Gives `length` addresses from `base` to a device and returns the `Region`.

        `read(offset, size) -> int` and `write(offset, size, value)` get the offset within the region; None makes reads
        float or writes go nowhere. `sizes` are the access widths in bytes that the handlers take: wider accesses are
        split; narrower ones than the narrowest are passed through. `read_block(offset, size, count) -> bytes` and
        `write_block(offset, size, data) -> elements taken` move many elements at one port. `native` replaces read and
        write by C functions. Raises BusError where another region is in the way, unless `may_overlap`, which makes
        this region wait in the other's shadow until the addresses are free.
        """
        cdef Region region = Region.__new__(Region)
        cdef Region other
        if length < 1 or base < 0 or base + length > self.limit:
            raise BusError(f"{name} cannot be mapped at {base:#x}, {length:#x} bytes: the space has {self.limit:#x}")
        region.base, region.length, region.name, region.device = base, length, name, device
        region.read_handler = _floating_read if read is None else read
        region.write_handler = _ignored_write if write is None else write
        region.read_block, region.write_block, region.native = read_block, write_block, native
        for size in sizes:
            if size not in (1, 2, 4, 8):
                raise BusError(f"{name} declares accesses of {size} bytes; a bus has 1, 2, 4 and 8")
            region.sizes |= <int>size
        other = self.blocker(region.base, region.length)
        if other is not None and not may_overlap:
            raise BusError(f"{name} at {base:#x}..{base + length - 1:#x} overlaps {other.name} "
                           f"at {other.base:#x}..{other.base + other.length - 1:#x}; unmap or move one of them")
        self.regions.append(region)
        if other is None:
            self.claim(region)
        return region

    def unmap(self, Region region not None):
        """Takes the region out. It may be put back with move()."""
        if region in self.regions:
            self.regions.remove(region)
            if region.mapped:
                self.release(region)
                self.settle(None)

    def move(self, Region region not None, base):
        """Moves a region (or puts an unmapped one back), as a guest does by writing a BAR; returns whether it decodes.

        Where another region is in the way, or the addresses do not exist, the region waits undecoded.
        """
        if region not in self.regions:
            self.regions.append(region)
        if region.mapped:
            self.release(region)
        region.base = base
        self.settle(region)
        return region.mapped

    cdef settle(self, Region mover):
        """Lets waiting regions claim what has become free: the one that was moved first, then in order of mapping."""
        cdef Region region
        for region in ([mover] if mover is not None else []) + self.regions:
            if (not region.mapped and region.base + region.length <= self.limit
                    and region.base + region.length >= region.base
                    and self.blocker(region.base, region.length) is None):
                self.claim(region)

    def regions_by_address(self):
        """All decoded regions, lowest first."""
        return sorted((r for r in self.regions if r.mapped), key=lambda r: r.base)

    def statistics(self):
        """Accesses by region name: {name: (reads, writes)}; 'unclaimed' are those that nobody answered."""
        cdef Region region
        totals = {"unclaimed": (self.unclaimed_reads, self.unclaimed_writes)}
        for region in self.regions:
            reads, writes = totals.get(region.name, (0, 0))
            totals[region.name] = (reads + region.reads, writes + region.writes)
        return totals

    def region_at(self, uint64_t address):
        """The region that answers at `address`, or None."""
        return self.find(address)

    def read(self, uint64_t address, int size):
        """Reads `size` bytes (1, 2, 4 or 8) at `address`; all ones where nothing answers."""
        self._check_size(size)
        return self.access_read(address, size)

    def write(self, uint64_t address, int size, value):
        """Writes the low `size` bytes (1, 2, 4 or 8) of `value` at `address`."""
        self._check_size(size)
        self.access_write(address, size, PyLong_AsUnsignedLongLongMask(value))

    def _check_size(self, int size):
        if size != 1 and size != 2 and size != 4 and size != 8:
            raise BusError(f"an access of {size} bytes does not exist on this bus; 1, 2, 4 and 8 do")

    cdef Region find(self, uint64_t address):
        return None

    cdef Region blocker(self, uint64_t base, uint64_t length):
        return None

    cdef claim(self, Region region):
        region.mapped = True

    cdef release(self, Region region):
        region.mapped = False

    cdef uint64_t access_read(self, uint64_t address, int size) except? 0xFFFFFFFFFFFFFFFFULL:
        cdef Region region = self.find(address)
        cdef uint64_t offset, value
        cdef int step, done
        if region is not None:
            offset = address - region.base
            if offset + size <= region.length:
                if region.sizes & size:
                    return region.handle_read(offset, size)
                step = widest_step(region.sizes, size)
                if step == size:
                    return region.handle_read(offset, size)
                value = 0
                for done in range(0, size, step):
                    value |= region.handle_read(offset + done, step) << (8 * done)
                return value
        elif size == 1 or self.blocker(address, size) is None:
            self.unclaimed_reads += 1
            return size_mask(size)
        value = 0
        for done in range(size):
            value |= self.access_read(address + done, 1) << (8 * done)
        return value

    cdef int access_write(self, uint64_t address, int size, uint64_t value) except -1:
        cdef Region region = self.find(address)
        cdef uint64_t offset
        cdef int step, done
        value &= size_mask(size)
        if region is not None:
            offset = address - region.base
            if offset + size <= region.length:
                step = size if region.sizes & size else widest_step(region.sizes, size)
                if step == size:
                    region.handle_write(offset, size, value)
                    return 0
                for done in range(0, size, step):
                    region.handle_write(offset + done, step, (value >> (8 * done)) & size_mask(step))
                return 0
        elif size == 1 or self.blocker(address, size) is None:
            self.unclaimed_writes += 1
            return 0
        for done in range(size):
            self.access_write(address + done, 1, (value >> (8 * done)) & 0xFF)
        return 0


cdef fill_slot(NativeSlot* slot, Region region):
    memset(slot, 0, sizeof(NativeSlot))
    if region is not None and region.native is not None:
        slot.read = region.native.read
        slot.write = region.native.write
        slot.device = region.native.device
        slot.base = region.base
        slot.length = region.length
        slot.sizes = region.sizes
        slot.reads = &region.reads
        slot.writes = &region.writes


@cython.final
cdef class PortSpace(AddressSpace):
    """The 64 KiB of I/O ports."""

    limit = 0x10000

    def __cinit__(self, *args):
        memset(&self.record, 0, sizeof(PortRecord))
        self.slots = [None]

    def __init__(self, Wiring wiring=None):
        AddressSpace.__init__(self, wiring)
        self.grow()
        self.record.space = <PyObject*>self
        if wiring is not None:
            wiring.ports_object = self
            wiring.board.ports = &self.record
            wiring.board.port_read = port_read
            wiring.board.port_write = port_write
            wiring.board.port_read_block = port_read_block
            wiring.board.port_write_block = port_write_block

    def __dealloc__(self):
        free(self.record.native)

    cdef grow(self):
        cdef NativeSlot* native = <NativeSlot*>realloc(self.record.native, len(self.slots) * sizeof(NativeSlot))
        if native == NULL:
            raise MemoryError("no memory for the port space's table")
        self.record.native = native
        memset(&native[len(self.slots) - 1], 0, sizeof(NativeSlot))

    cdef Region find(self, uint64_t address):
        cdef uint16_t slot = self.record.table[address] if address < 0x10000 else 0
        return <Region>self.slots[slot] if slot else None

    cdef Region blocker(self, uint64_t base, uint64_t length):
        cdef uint64_t port
        for port in range(base, min(base + length, 0x10000)):
            if self.record.table[port]:
                return self.slots[self.record.table[port]]
        return None

    cdef claim(self, Region region):
        cdef uint64_t port
        for region.slot in range(1, len(self.slots) + 1):
            if region.slot == len(self.slots):
                self.slots.append(None)
                self.grow()
            if self.slots[region.slot] is None:
                break
        self.slots[region.slot] = region
        fill_slot(&self.record.native[region.slot], region)
        for port in range(region.base, region.base + region.length):
            self.record.table[port] = region.slot
        region.mapped = True

    cdef release(self, Region region):
        cdef uint64_t port
        for port in range(region.base, region.base + region.length):
            self.record.table[port] = 0
        self.slots[region.slot] = None
        fill_slot(&self.record.native[region.slot], None)
        region.mapped = False

    def read_block(self, uint64_t port, int size, uint64_t count):
        """REP INS: `count` elements of `size` bytes from one port; fewer if the run is to stop."""
        cdef uint64_t moved = 0
        cdef bytearray buffer
        self._check_size(size)
        buffer = bytearray(size * count)
        self.take_block(port, size, <uint8_t*>buffer, count, &moved)
        return bytes(buffer[:moved * size])

    def write_block(self, uint64_t port, int size, data):
        """REP OUTS: the elements of `size` bytes in `data` to one port; returns how many were taken."""
        cdef uint64_t moved = 0
        cdef bytes block = bytes(data)
        self._check_size(size)
        self.give_block(port, size, <const uint8_t*>PyBytes_AS_STRING(block), len(block) // size, &moved)
        return moved

    cdef int take_block(self, uint64_t port, int size, uint8_t* to, uint64_t count, uint64_t* moved) except -1:
        cdef Region region = self.find(port)
        cdef Py_buffer view
        cdef uint64_t value, got
        if region is not None and region.read_block is not None and port - region.base + size <= region.length:
            block = region.read_block(port - region.base, size, count)
            PyObject_GetBuffer(block, &view, PyBUF_SIMPLE)
            try:
                got = min(<uint64_t>view.len // size, count)
                memcpy(to, view.buf, got * size)
            finally:
                PyBuffer_Release(&view)
            region.reads += got
            moved[0] = got
        # What the block handler left (a device's buffer may end earlier) goes element by element.
        while moved[0] < count:
            value = self.access_read(port, size)
            memcpy(to + moved[0] * size, &value, size)
            moved[0] += 1
            if self.wiring is not None and self.wiring.board.stop:
                break
        return 0

    cdef int give_block(self, uint64_t port, int size, const uint8_t* data, uint64_t count,
                        uint64_t* moved) except -1:
        cdef Region region = self.find(port)
        cdef uint64_t value
        if region is not None and region.write_block is not None and port - region.base + size <= region.length:
            taken = region.write_block(port - region.base, size,
                                       PyBytes_FromStringAndSize(<const char*>data, count * size))
            moved[0] = count if taken is None else min(<uint64_t>taken, count)
            region.writes += moved[0]
        while moved[0] < count:
            value = 0
            memcpy(&value, data + moved[0] * size, size)
            self.access_write(port, size, value)
            moved[0] += 1
            if self.wiring is not None and self.wiring.board.stop:
                break
        return 0


@cython.final
cdef class MmioSpace(AddressSpace):
    """Guest-physical addresses that are no memory."""

    limit = 1 << 52

    def __init__(self, Wiring wiring=None):
        AddressSpace.__init__(self, wiring)
        memset(&self.record, 0, sizeof(MmioRecord))
        self.ordered = []
        self.record.space = <PyObject*>self
        if wiring is not None:
            wiring.mmio_object = self
            wiring.board.mmio = &self.record
            wiring.board.mmio_read = mmio_read
            wiring.board.mmio_write = mmio_write

    cdef Py_ssize_t position(self, uint64_t address):
        """Index of the first claimed region that ends above `address`."""
        cdef Py_ssize_t low = 0, high = len(self.ordered), middle
        cdef Region region
        while low < high:
            middle = (low + high) >> 1
            region = self.ordered[middle]
            if region.base + region.length <= address:
                low = middle + 1
            else:
                high = middle
        return low

    cdef Region find(self, uint64_t address):
        cdef Region region = self.last
        cdef Py_ssize_t index
        if region is not None and address - region.base < region.length:
            return region
        index = self.position(address)
        if index < len(self.ordered):
            region = self.ordered[index]
            if region.base <= address:
                self.last = region
                fill_slot(&self.record.last, region)
                return region
        return None

    cdef Region blocker(self, uint64_t base, uint64_t length):
        cdef Py_ssize_t index = self.position(base)
        cdef Region region
        if index < len(self.ordered):
            region = self.ordered[index]
            if region.base < base + length:
                return region
        return None

    cdef forget(self):
        self.last = None
        memset(&self.record.last, 0, sizeof(NativeSlot))

    cdef claim(self, Region region):
        self.ordered.insert(self.position(region.base), region)
        region.mapped = True
        self.forget()

    cdef release(self, Region region):
        self.ordered.remove(region)
        region.mapped = False
        self.forget()


# The core's entry points.  A native device is called without the GIL; all else takes it, and an exception of a handler
# is kept in the wiring and stops the run: it must not travel through the core's frames.

cdef inline bint is_native(NativeSlot* slot, uint64_t address, int size) noexcept nogil:
    return (slot.read != NULL and address - slot.base < slot.length
            and address - slot.base + size <= slot.length and slot.sizes & size)


cdef uint64_t space_read(AddressSpace space, uint64_t address, int size) noexcept:
    try:
        return space.access_read(address, size)
    except BaseException as error:
        space.wiring.record_exception(error)
        return size_mask(size)


cdef void space_write(AddressSpace space, uint64_t address, int size, uint64_t value) noexcept:
    try:
        space.access_write(address, size, value)
    except BaseException as error:
        space.wiring.record_exception(error)


cdef int raise_pending() except -1:
    return -1


cdef void keep_pending(AddressSpace space) noexcept:
    """Records the exception that a handler has raised and that is still set."""
    try:
        raise_pending()
    except BaseException as error:
        space.wiring.record_exception(error)


cdef uint64_t port_read(void* bus, uint64_t address, int size) noexcept nogil:
    cdef PortRecord* record = <PortRecord*>bus
    cdef NativeSlot* slot = &record.native[record.table[address & 0xFFFF]]
    if is_native(slot, address, size):
        slot.reads[0] += 1
        return slot.read(slot.device, address - slot.base, size) & size_mask(size)
    with gil:
        return port_read_python(<PortSpace>record.space, address, size)


cdef uint64_t port_read_python(PortSpace space, uint64_t address, int size) noexcept:
    """The plain case, an access that the handler takes, without the detours of the others."""
    cdef Region region = space.find(address)
    cdef uint64_t value = 0
    if region is None or region.native is not None or not region.sizes & size or address - region.base + size > region.length:
        return space_read(space, address, size)
    region.reads += 1
    if not call_read(region.read_handler, address - region.base, size, &value):
        keep_pending(space)
        return size_mask(size)
    return value


cdef void port_write_python(PortSpace space, uint64_t address, int size, uint64_t value) noexcept:
    cdef Region region = space.find(address)
    if region is None or region.native is not None or not region.sizes & size or address - region.base + size > region.length:
        space_write(space, address, size, value)
        return
    region.writes += 1
    if not call_write(region.write_handler, address - region.base, size, value & size_mask(size)):
        keep_pending(space)


cdef void port_write(void* bus, uint64_t address, int size, uint64_t value) noexcept nogil:
    cdef PortRecord* record = <PortRecord*>bus
    cdef NativeSlot* slot = &record.native[record.table[address & 0xFFFF]]
    if is_native(slot, address, size):
        slot.writes[0] += 1
        slot.write(slot.device, address - slot.base, size, value & size_mask(size))
        return
    with gil:
        port_write_python(<PortSpace>record.space, address, size, value)


cdef uint64_t port_read_block(void* bus, uint64_t address, int size, uint8_t* to, uint64_t count) noexcept with gil:
    cdef PortSpace space = <PortSpace>(<PortRecord*>bus).space
    cdef uint64_t moved = 0
    try:
        space.take_block(address, size, to, count, &moved)
    except BaseException as error:
        space.wiring.record_exception(error)
        # The failing element counts as moved, floating, so that the instruction makes progress.
        if moved < count:
            memset(to + moved * size, 0xFF, size)
            moved += 1
    return moved


cdef uint64_t port_write_block(void* bus, uint64_t address, int size, const uint8_t* data,
                               uint64_t count) noexcept with gil:
    cdef PortSpace space = <PortSpace>(<PortRecord*>bus).space
    cdef uint64_t moved = 0
    try:
        space.give_block(address, size, data, count, &moved)
    except BaseException as error:
        space.wiring.record_exception(error)
        moved = min(moved + 1, count)
    return moved


cdef uint64_t mmio_read(void* bus, uint64_t address, int size) noexcept nogil:
    cdef MmioRecord* record = <MmioRecord*>bus
    cdef NativeSlot* slot = &record.last
    if is_native(slot, address, size):
        slot.reads[0] += 1
        return slot.read(slot.device, address - slot.base, size) & size_mask(size)
    with gil:
        return space_read(<AddressSpace>record.space, address, size)


cdef void mmio_write(void* bus, uint64_t address, int size, uint64_t value) noexcept nogil:
    cdef MmioRecord* record = <MmioRecord*>bus
    cdef NativeSlot* slot = &record.last
    if is_native(slot, address, size):
        slot.writes[0] += 1
        slot.write(slot.device, address - slot.base, size, value & size_mask(size))
        return
    with gil:
        space_write(<AddressSpace>record.space, address, size, value)


# The same entry points for Python, so that a test goes the core's way.

def core_port_read(Wiring wiring not None, uint64_t port, int size):
    """IN as the core does it, through the wiring's C pointers; an exception ends up in `wiring.exception`."""
    with nogil:
        port = wiring.board.port_read(wiring.board.ports, port, size)
    return port


def core_port_write(Wiring wiring not None, uint64_t port, int size, uint64_t value):
    """OUT as the core does it."""
    with nogil:
        wiring.board.port_write(wiring.board.ports, port, size, value)


def core_port_read_block(Wiring wiring not None, uint64_t port, int size, uint64_t count):
    """REP INS as the core does it."""
    cdef bytearray buffer = bytearray(size * count)
    cdef uint8_t* to = <uint8_t*>buffer
    with nogil:
        count = wiring.board.port_read_block(wiring.board.ports, port, size, to, count)
    return bytes(buffer[:count * size])


def core_port_write_block(Wiring wiring not None, uint64_t port, int size, bytes data):
    """REP OUTS as the core does it; returns the elements moved."""
    cdef const uint8_t* block = <const uint8_t*>PyBytes_AS_STRING(data)
    cdef uint64_t count = len(data) // size
    with nogil:
        count = wiring.board.port_write_block(wiring.board.ports, port, size, block, count)
    return count


def core_mmio_read(Wiring wiring not None, uint64_t address, int size):
    """A load from MMIO as the core does it."""
    with nogil:
        address = wiring.board.mmio_read(wiring.board.mmio, address, size)
    return address


def core_mmio_write(Wiring wiring not None, uint64_t address, int size, uint64_t value):
    """A store to MMIO as the core does it."""
    with nogil:
        wiring.board.mmio_write(wiring.board.mmio, address, size, value)
