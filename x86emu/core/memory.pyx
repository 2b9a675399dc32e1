# cython: language_level=3
"""Guest-physical memory (Intel SDM volume 3A, chapter 12; the layout is the board's, not the manual's).

One anonymous mapping holds RAM and, behind it, ROM; pages that the guest never touches are never resident.
What the processor sees where is a list of ranges with separate read and write offsets, so that PAM (write to DRAM,
read from ROM), SMRAM and aliases of the BIOS are nothing special.  Decoded code is remembered by backing page, which
makes aliases of the same byte agree on when a trace is stale.
"""
from cpython.buffer cimport PyBUF_WRITE
from cpython.memoryview cimport PyMemoryView_FromMemory
from libc.stdint cimport uint8_t, uint64_t
from libc.string cimport memcpy, memset
from x86emu.core.state cimport *
from x86emu.core.physical cimport backing_of
from x86emu.core.trace cimport invalidate_code, flush_traces, new_arena, free_arena
from x86emu.core.tlb cimport tlb_flush_everything
from x86emu.bus.platform cimport Wiring

from x86emu.errors import UserInputError

cdef extern from "sys/mman.h" nogil:
    void* mmap(void* address, size_t length, int protection, int flags, int fd, long offset)
    int munmap(void* address, size_t length)
    int madvise(void* address, size_t length, int advice)
    enum:
        MADV_DONTNEED
        PROT_READ
        PROT_WRITE
        MAP_PRIVATE
        MAP_ANONYMOUS
        MAP_NORESERVE
        MAP_FAILED_VALUE "((long)MAP_FAILED)"

cdef uint64_t NOTHING = 0xFFFFFFFFFFFFFFFFULL


cdef void* anonymous(size_t n) except NULL:
    cdef void* p = mmap(NULL, n, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0)
    if <long>p == MAP_FAILED_VALUE:
        raise UserInputError(f"this host cannot give {n >> 20} MiB of memory to the guest; ask for less with --memory")
    return p


cdef class PhysicalMemory:
    """Guest RAM and ROM and the map of guest-physical space over them.

    ram_bytes, rom_bytes: sizes in bytes, multiples of 4096.  Backing offsets count from the start of RAM; ROM begins
    at offset ram_bytes.  Raises UserInputError where the host has not that much address space.
    """

    def __cinit__(self, ram_bytes: int, rom_bytes: int = 0):
        if ram_bytes <= 0 or ram_bytes % 4096 or rom_bytes < 0 or rom_bytes % 4096:
            raise UserInputError(f"memory sizes must be positive multiples of 4096 bytes, not {ram_bytes} and {rom_bytes}")
        cdef Memory* m = &self.shared.memory
        self.ram_bytes = ram_bytes
        self.rom_bytes = rom_bytes
        cdef uint64_t total = ram_bytes + rom_bytes
        m.backing_size = total
        m.backing = <uint8_t*>anonymous(total + 4096)
        m.code_mask = <uint64_t*>anonymous((total >> 12) * 8 + 4096)
        m.page_traces = <Trace**>anonymous((total >> 12) * 8 + 4096)
        m.code_bytes = <uint64_t**>anonymous((total >> 12) * 8 + 4096)
        self.shared.hash = <Trace**>anonymous(TRACE_HASH * 8)
        self.shared.arena = new_arena()
        cdef int k
        for k in range(LOW_PAGES):
            m.low_read[k] = m.low_write[k] = NOTHING
        self.mappings = []
        self.smm_mappings = []

    def __dealloc__(self):
        cdef Memory* m = &self.shared.memory
        cdef uint64_t pages = m.backing_size >> 12
        if m.backing != NULL:
            munmap(m.backing, m.backing_size + 4096)
        if m.code_mask != NULL:
            munmap(m.code_mask, pages * 8 + 4096)
        if m.page_traces != NULL:
            munmap(m.page_traces, pages * 8 + 4096)
        if m.code_bytes != NULL:
            munmap(m.code_bytes, pages * 8 + 4096)
        if self.shared.hash != NULL:
            munmap(self.shared.hash, TRACE_HASH * 8)
        if self.shared.arena != NULL:
            free_arena(self.shared.arena)

    @property
    def ram(self):
        """Guest RAM as a NumPy array of bytes.  Write code through write(), which notices what has been decoded."""
        if self.ram_view is None:
            import numpy                         # 0.1 s, which a boot without a picture does not need

            self.ram_view = numpy.frombuffer(self.whole(), numpy.uint8, self.ram_bytes)
        return self.ram_view

    def whole(self):
        """RAM and ROM behind it as a memoryview."""
        cdef Memory* m = &self.shared.memory
        return PyMemoryView_FromMemory(<char*>m.backing, <Py_ssize_t>m.backing_size, PyBUF_WRITE)

    @property
    def rom(self):
        """The ROM behind RAM as a NumPy array of bytes."""
        if self.rom_view is None:
            import numpy

            self.rom_view = numpy.frombuffer(self.whole(), numpy.uint8)[self.ram_bytes :]
        return self.rom_view

    def set_wiring(self, Wiring wiring):
        """The board whose MMIO space answers where no RAM or ROM is mapped."""
        self.wiring = wiring

    def map(self, guest_physical: int, length: int, read_offset, write_offset) -> None:
        """Maps [guest_physical, +length) to backing offsets; None sends that direction to the MMIO bus.

        Later calls win over earlier ones. All page-aligned. Every decoded trace and TLB entry is dropped.
        """
        self._map(self.mappings, guest_physical, length, read_offset, write_offset)

    def map_smm(self, guest_physical: int, length: int, read_offset, write_offset) -> None:
        """The same, seen only by a processor in system-management mode, before all that map() says."""
        self._map(self.smm_mappings, guest_physical, length, read_offset, write_offset)

    def _map(self, list mappings, guest_physical, length, read_offset, write_offset):
        for name, value in (("address", guest_physical), ("length", length), ("read offset", read_offset or 0),
                            ("write offset", write_offset or 0)):
            if value % 4096 or value < 0:
                raise ValueError(f"{name} {value:#x} of a memory mapping is not a multiple of 4096")
        for offset in (read_offset, write_offset):
            if offset is not None and offset + length > self.shared.memory.backing_size:
                raise ValueError(f"mapping {guest_physical:#x}+{length:#x} ends beyond the backing memory")
        start, end = guest_physical, guest_physical + length
        kept = []
        for (s, e, r, w) in mappings:
            if e <= start or s >= end:
                kept.append((s, e, r, w))
                continue
            if s < start:
                kept.append((s, start, r, w))
            if e > end:
                kept.append((end, e, None if r is None else r + (end - s), None if w is None else w + (end - s)))
        if length:
            kept.append((start, end, read_offset, write_offset))
        kept.sort()
        merged = []
        for item in kept:
            if merged:
                s, e, r, w = merged[len(merged) - 1]
                s2, e2, r2, w2 = item
                if e == s2 and (r2 == (None if r is None else r + (e - s))) and (w2 == (None if w is None else w + (e - s))):
                    merged[len(merged) - 1] = (s, e2, r, w)
                    continue
            merged.append(item)
        mappings[:] = merged
        self._publish()

    def _publish(self):
        cdef Memory* m = &self.shared.memory
        cdef int k = 0, page
        for page in range(LOW_PAGES):
            m.low_read[page] = m.low_write[page] = NOTHING
        for (s, e, r, w) in self.mappings:
            for page in range(min(s, 0x100000) >> 12, min(e, 0x100000) >> 12):
                m.low_read[page] = NOTHING if r is None else r + (page * 4096 - s)
                m.low_write[page] = NOTHING if w is None else w + (page * 4096 - s)
            if e > 0x100000:
                if k >= MAX_RANGES:
                    raise ValueError(f"more than {MAX_RANGES} ranges of guest-physical memory")
                m.ranges[k].start = s
                m.ranges[k].end = e
                m.ranges[k].read_offset = NOTHING if r is None else r
                m.ranges[k].write_offset = NOTHING if w is None else w
                k += 1
        m.n_ranges = k
        if len(self.smm_mappings) > 16:
            raise ValueError("more than 16 ranges of SMM memory")
        for k, (s, e, r, w) in enumerate(self.smm_mappings):
            m.smm_ranges[k].start = s
            m.smm_ranges[k].end = e
            m.smm_ranges[k].read_offset = NOTHING if r is None else r
            m.smm_ranges[k].write_offset = NOTHING if w is None else w
        m.n_smm_ranges = len(self.smm_mappings)
        # Links between traces of one page assume that the page's bytes stay where they are.
        self.shared.flush_wanted = 1
        for k in range(self.shared.n_cpus):
            tlb_flush_everything(self.shared.cpus[k])
            if self.shared.cpus[k].signals.kick != NULL:
                self.shared.cpus[k].signals.kick(self.shared.cpus[k])

    cdef void dma_read(self, uint64_t physical, uint8_t* to, uint64_t n) noexcept:
        cdef uint64_t chunk, offset
        while n:
            chunk = 4096 - (physical & 4095)
            if chunk > n:
                chunk = n
            offset = backing_of(&self.shared.memory, physical, 0, 0)
            if offset == NOTHING:
                memset(to, 0xFF, chunk)
            else:
                memcpy(to, self.shared.memory.backing + offset, chunk)
            physical += chunk
            to += chunk
            n -= chunk

    cdef void dma_write(self, uint64_t physical, const uint8_t* data, uint64_t n) noexcept:
        cdef uint64_t chunk, offset
        while n:
            chunk = 4096 - (physical & 4095)
            if chunk > n:
                chunk = n
            offset = backing_of(&self.shared.memory, physical, 1, 0)
            if offset != NOTHING:
                memcpy(self.shared.memory.backing + offset, data, chunk)
                if self.shared.memory.code_mask[offset >> 12]:
                    invalidate_code(&self.shared, offset, chunk)
            physical += chunk
            data += chunk
            n -= chunk

    def read(self, guest_physical: int, length: int) -> bytes:
        """length bytes as a bus master sees them: all ones where there is no RAM or ROM."""
        if length < 0 or guest_physical < 0:
            raise ValueError("a negative address or length")
        buffer = bytearray(length)
        cdef uint8_t[::1] view
        if length:
            view = buffer
            self.dma_read(guest_physical, &view[0], length)
        return bytes(buffer)

    def write(self, guest_physical: int, data) -> None:
        """Writes as a bus master does: into RAM only (ROM and holes swallow it); traces of changed code are dropped."""
        cdef const uint8_t[::1] view = data
        if view.shape[0]:
            self.dma_write(guest_physical, &view[0], view.shape[0])

    def buffer(self, guest_physical: int, length: int):
        """RAM itself as a memoryview, where the range is RAM in one piece for reading and writing; else None.

        Who writes to it calls changed() afterwards.
        """
        offset = self._ram_offset(guest_physical, length)
        return None if offset is None else self.whole()[offset : offset + length]

    def changed(self, guest_physical: int, length: int) -> None:
        """Says that a buffer() was written: traces of changed code are dropped."""
        offset = self._ram_offset(guest_physical, length)
        if offset is not None and length:
            invalidate_code(&self.shared, offset, length)

    def _ram_offset(self, guest_physical: int, length: int):
        for start, end, read_offset, write_offset in self.mappings:
            if start <= guest_physical and guest_physical + length <= end:
                if read_offset is None or read_offset != write_offset:
                    return None
                offset = read_offset + guest_physical - start
                return offset if offset + length <= self.ram_bytes else None
        return None

    def release(self, guest_physical: int, length: int) -> None:
        """Gives whole pages of RAM back to the host, where nothing needs their contents; they read as zeros then.

        guest_physical, length: bytes, multiples of 4096.  What is not RAM is passed over.
        """
        if guest_physical % 4096 or length % 4096 or guest_physical < 0 or length < 0:
            raise ValueError(f"{guest_physical:#x}+{length:#x} are not whole pages")
        cdef uint64_t physical = guest_physical, end = guest_physical + length, offset, first, run
        cdef Memory* m = &self.shared.memory
        while physical < end:
            first = backing_of(m, physical, 1, 0)
            if first == NOTHING:
                physical += 4096
                continue
            run = 0
            while physical < end:
                offset = backing_of(m, physical, 1, 0)
                if offset != first + run:
                    break
                if m.code_mask[offset >> 12]:
                    invalidate_code(&self.shared, offset, 4096)
                run += 4096
                physical += 4096
            if madvise(m.backing + first, run, MADV_DONTNEED):
                memset(m.backing + first, 0, run)

    def code_written(self, offset: int, length: int) -> None:
        """Says that backing bytes were changed behind the engine's back (through ram or rom)."""
        if length:
            invalidate_code(&self.shared, offset, length)

    def __getitem__(self, key):
        if isinstance(key, slice):
            start, stop, step = key.indices(1 << 52)
            if step != 1:
                raise ValueError("memory slices have no step")
            return self.read(start, stop - start)
        return self.read(key, 1)[0]

    def __setitem__(self, key, value):
        if isinstance(key, slice):
            start, stop, step = key.indices(1 << 52)
            if step != 1 or stop - start != len(value):
                raise ValueError(f"{len(value)} bytes do not fit the slice of {stop - start}")
            self.write(start, bytes(value))
        else:
            self.write(key, bytes([value]))
