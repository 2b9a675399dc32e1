# cython: language_level=3
# VGA display memory: the sequencer's and the graphics controller's data path between host and planes (IBM PS/2 Hardware
# Interface Technical Reference, "Video Subsystem": Sequencer, Graphics Controller; IBM VGA XGA Technical Reference 2).
# Native code, because guests draw through here byte by byte.  Byte p of dword a of the memory is byte a of plane p.
"""VGA display memory: planes, latches, write and read modes, the linear frame buffer, and a ROM image."""
from cpython.bytearray cimport PyByteArray_AS_STRING
from cpython.bytes cimport PyBytes_AS_STRING
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memset

from x86emu.bus.spaces cimport NativeHandlers, native_handlers

cdef uint64_t ONES = <uint64_t>0xFFFFFFFFFFFFFFFFULL

cdef struct VgaState:
    uint8_t* memory
    uint64_t length
    uint32_t latch
    uint8_t sequencer[8]
    uint8_t graphics[16]
    uint8_t enabled               # miscellaneous output bit 1: the host reaches display memory
    uint8_t linear                # VBE: the window is a 64 KiB bank of linear memory
    uint64_t bank                 # its byte offset


cdef inline uint32_t expand(uint8_t planes) noexcept nogil:
    """A dword with FFh in the byte of each plane in the low four bits."""
    return ((planes & 1) * <uint32_t>0xFF | (planes >> 1 & 1) * <uint32_t>0xFF00
            | (planes >> 2 & 1) * <uint32_t>0xFF0000 | (planes >> 3 & 1) * <uint32_t>0xFF000000)


cdef inline bint window_offset(VgaState* s, uint64_t* address) noexcept nogil:
    """Graphics register 6 bits 3-2 say which part of A0000h-BFFFFh answers; makes the address relative to it."""
    cdef int select = s.graphics[6] >> 2 & 3
    if not s.enabled:
        return False
    if select == 0:
        return True
    if select == 1:
        return address[0] < 0x10000
    if select == 2:
        address[0] -= 0x10000
        return address[0] < 0x8000
    address[0] -= 0x18000
    return address[0] < 0x8000


cdef void write_byte(VgaState* s, uint64_t address, uint8_t value) noexcept nogil:
    cdef uint8_t planes = s.sequencer[2] & 15
    cdef uint8_t mode = s.graphics[5] & 3
    cdef uint8_t bit_mask = s.graphics[8]
    cdef uint8_t rotate = s.graphics[3] & 7
    cdef uint32_t data, mask
    cdef uint32_t* cell
    if not window_offset(s, &address):
        return
    if s.linear:
        if s.bank + address < s.length:
            s.memory[s.bank + address] = value
        return
    if s.sequencer[4] & 8:                       # chain 4: the low address bits pick the plane
        planes &= 1 << (address & 3)
        address &= ~<uint64_t>3
    elif not s.sequencer[4] & 4:                 # odd/even: the lowest address bit picks planes 0, 2 or 1, 3
        planes &= 10 if address & 1 else 5
    if s.graphics[6] & 2:
        address &= ~<uint64_t>1
    cell = <uint32_t*>s.memory + (address & 0xFFFF)
    if mode == 1:
        data = s.latch
    else:
        if mode == 2:
            data = expand(value)
        else:
            value = <uint8_t>(value >> rotate | value << (8 - rotate))
            if mode == 3:
                bit_mask &= value
                data = expand(s.graphics[0])
            else:
                mask = expand(s.graphics[1])
                data = (value * <uint32_t>0x01010101 & ~mask) | (expand(s.graphics[0]) & mask)
        if s.graphics[3] & 0x18 == 0x08:
            data &= s.latch
        elif s.graphics[3] & 0x18 == 0x10:
            data |= s.latch
        elif s.graphics[3] & 0x18 == 0x18:
            data ^= s.latch
        mask = bit_mask * <uint32_t>0x01010101
        data = (data & mask) | (s.latch & ~mask)
    mask = expand(planes)
    cell[0] = (cell[0] & ~mask) | (data & mask)


cdef uint8_t read_byte(VgaState* s, uint64_t address) noexcept nogil:
    cdef uint8_t plane = s.graphics[4] & 3
    cdef uint32_t difference
    if not window_offset(s, &address):
        return 0xFF
    if s.linear:
        return s.memory[s.bank + address] if s.bank + address < s.length else 0xFF
    if s.sequencer[4] & 8:
        plane = address & 3
        address &= ~<uint64_t>3
    elif s.graphics[5] & 0x10:
        plane = (plane & 2) | (address & 1)
    if s.graphics[6] & 2:
        address &= ~<uint64_t>1
    s.latch = (<uint32_t*>s.memory)[address & 0xFFFF]
    if s.graphics[5] & 8 and not s.sequencer[4] & 8:
        # Read mode 1: a one for each pixel whose planes, as far as they matter, have the colour to compare with.
        difference = (s.latch ^ expand(s.graphics[2])) & expand(s.graphics[7])
        difference |= difference >> 16
        difference |= difference >> 8
        return <uint8_t>~difference
    return <uint8_t>(s.latch >> (8 * plane))


cdef uint64_t window_read(void* device, uint64_t offset, int size) noexcept nogil:
    cdef uint64_t value = 0
    cdef int lane
    for lane in range(size):
        value |= <uint64_t>read_byte(<VgaState*>device, offset + lane) << (8 * lane)
    return value


cdef void window_write(void* device, uint64_t offset, int size, uint64_t value) noexcept nogil:
    cdef int lane
    for lane in range(size):
        write_byte(<VgaState*>device, offset + lane, <uint8_t>(value >> (8 * lane)))


cdef uint64_t linear_read(void* device, uint64_t offset, int size) noexcept nogil:
    cdef VgaState* s = <VgaState*>device
    cdef uint64_t value = 0
    cdef int lane
    if offset + size > s.length:
        return ONES
    for lane in range(size):
        value |= <uint64_t>s.memory[offset + lane] << (8 * lane)
    return value


cdef void linear_write(void* device, uint64_t offset, int size, uint64_t value) noexcept nogil:
    cdef VgaState* s = <VgaState*>device
    cdef int lane
    if offset + size <= s.length:
        for lane in range(size):
            s.memory[offset + lane] = <uint8_t>(value >> (8 * lane))


cdef class VgaMemory:
    """Display memory of `length` bytes (at least 256 KiB, a power of two) with the host's data path.

    `contents` is the memory. `window` and `linear` are the native handlers of the 128 KiB at A0000h and of the linear
    frame buffer; `window_read` and `window_write` are the same window for Python.
    """

    cdef VgaState state
    cdef readonly bytearray contents
    cdef readonly NativeHandlers window
    cdef readonly NativeHandlers linear

    def __init__(self, length=16 << 20):
        if length < 256 << 10 or length & (length - 1):
            raise ValueError(f"display memory of {length} bytes: a power of two from 256 KiB would do")
        memset(&self.state, 0, sizeof(VgaState))
        self.contents = bytearray(length)
        self.state.memory = <uint8_t*>PyByteArray_AS_STRING(self.contents)
        self.state.length = length
        self.window = native_handlers(self, &self.state, window_read, window_write)
        self.linear = native_handlers(self, &self.state, linear_read, linear_write)

    def set_sequencer(self, int index, int value):
        """A write to sequencer register `index` (0-7)."""
        self.state.sequencer[index & 7] = value

    def set_graphics(self, int index, int value):
        """A write to graphics controller register `index` (0-15)."""
        self.state.graphics[index & 15] = value

    def set_enabled(self, bint enabled):
        """Miscellaneous output bit 1: whether the host reaches display memory."""
        self.state.enabled = enabled

    def set_linear(self, bint enabled, bank=0):
        """VBE: the window shows 64 KiB of linear memory from byte `bank` on instead of planes."""
        self.state.linear = enabled
        self.state.bank = bank

    @property
    def latch(self):
        """The four plane latches, plane 0 in the low byte."""
        return self.state.latch

    @latch.setter
    def latch(self, value):
        self.state.latch = value

    def window_read(self, uint64_t offset, int size):
        """A host read at A0000h + `offset`."""
        return window_read(&self.state, offset, size)

    def window_write(self, uint64_t offset, int size, uint64_t value):
        """A host write at A0000h + `offset`."""
        window_write(&self.state, offset, size, value)

    def load_contents(self, contents):
        """Replaces the memory's bytes, in place. Raises ValueError for another length."""
        if len(contents) != len(self.contents):
            raise ValueError(f"display memory has {len(self.contents)} bytes, {len(contents)} were given")
        self.contents[:] = contents


cdef struct RomState:
    const uint8_t* bytes
    uint64_t length


cdef uint64_t rom_read(void* device, uint64_t offset, int size) noexcept nogil:
    cdef RomState* s = <RomState*>device
    cdef uint64_t value = 0
    cdef int lane
    for lane in range(size):
        if offset + lane < s.length:
            value |= <uint64_t>s.bytes[offset + lane] << (8 * lane)
        else:
            value |= <uint64_t>0xFF << (8 * lane)
    return value


cdef void rom_write(void* device, uint64_t offset, int size, uint64_t value) noexcept nogil:
    pass


cdef class RomImage:
    """A read-only image behind a bus range; past its end reads give FFh. `native` are its handlers."""

    cdef RomState state
    cdef readonly bytes contents
    cdef readonly NativeHandlers native

    def __init__(self, contents):
        self.contents = bytes(contents)
        self.state.bytes = <const uint8_t*>PyBytes_AS_STRING(self.contents)
        self.state.length = len(self.contents)
        self.native = native_handlers(self, &self.state, rom_read, rom_write)
