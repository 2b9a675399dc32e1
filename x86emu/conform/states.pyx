# cython: language_level=3
"""The hot parts of making and judging cases: states at random, encodings put into records, outcomes compared.

Values are corners, small numbers and random ones of every length; vector lanes hold integers, singles and doubles with
their corners; x87 registers hold numbers near one, wild ones and special encodings (SDM 1, 4.8.3 and 8.2.2).  All follow
from a 64-bit seed by SplitMix64.
"""
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t, int16_t, int32_t, int64_t
from libc.string cimport memcpy, memcmp, memset
from x86emu.conform.record cimport Record

import numpy as np

from x86emu.conform.records import RECORD

assert sizeof(Record) == RECORD.itemsize, (sizeof(Record), RECORD.itemsize)

cdef struct Source:
    uint64_t state
    const uint64_t* corners
    uint32_t n_corners
    const uint64_t* singles
    uint32_t n_singles
    const uint64_t* doubles
    uint32_t n_doubles
    const uint64_t* extended       # pairs: mantissa, sign and exponent
    uint32_t n_extended

cdef inline uint64_t draw(Source* s) noexcept nogil:
    cdef uint64_t z
    s.state += 0x9E3779B97F4A7C15ULL
    z = s.state
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ULL
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBULL
    return z ^ (z >> 31)

cdef inline uint32_t below(uint64_t bits, uint32_t n) noexcept nogil:
    """A number below n from 32 random bits."""
    return <uint32_t>(((bits & 0xFFFFFFFFULL) * n) >> 32)

cdef inline uint64_t integer(Source* s) noexcept nogil:
    """Two of five are corners, one of four is short."""
    cdef uint64_t choice = draw(s)
    cdef uint32_t kind = <uint32_t>(choice & 127)
    if kind < 51:
        return s.corners[below(choice >> 32, s.n_corners)]
    if kind < 82:
        return draw(s) >> ((choice >> 32) & 63)
    return draw(s)

cdef inline uint64_t single_near_one(uint64_t bits) noexcept nogil:
    return (0x70 + ((bits >> 24) & 31)) << 23 | (bits & 0x7FFFFF)

cdef inline uint64_t lane(Source* s) noexcept nogil:
    """A quadword of a vector operand."""
    cdef uint64_t choice = draw(s), bits
    cdef uint32_t kind = <uint32_t>(choice & 0xFFFF) % 6
    if kind == 0:
        return (s.singles[below(choice >> 16, s.n_singles)]
                | s.singles[below(choice >> 32, s.n_singles)] << 32)
    if kind == 1:
        return s.doubles[below(choice >> 32, s.n_doubles)]
    if kind == 2:
        bits = draw(s)
        return (0x3F0 + ((choice >> 32) & 31)) << 52 | (bits & 0x800FFFFFFFFFFFFFULL)
    if kind == 3:
        bits = draw(s)
        return single_near_one(bits) | single_near_one(bits >> 32) << 32
    return integer(s)

cdef void fill(Record* r, Source* s, bint long_mode, bint avx) noexcept nogil:
    cdef int n, count = 16 if long_mode else 8
    cdef uint64_t choice, kind
    cdef uint64_t* window = <uint64_t*>r.window
    memset(r, 0, sizeof(Record))
    r.mode = 64 if long_mode else 32
    r.row = r.vector = -1
    for n in range(count):
        r.gpr[n] = integer(s) if long_mode else integer(s) & 0xFFFFFFFFULL
    choice = draw(s)
    r.gpr[4] = STACK + 0x800 + 8 * (choice & 31)
    choice >>= 5
    r.rflags = (choice & 0x8D5) | 0x202 | (0x400 if (choice >> 12 & 127) < 19 else 0)
    choice >>= 19
    if choice >> 24 & 31 == 0:
        r.rflags |= 0x40000          # AC: alignment is checked
    r.mxcsr = <uint32_t>(0x1F80 | (choice & 3) << 13)
    kind = choice >> 2 & 127
    if kind < 13:
        r.mxcsr |= 0x8040
    elif kind >= 115:
        r.mxcsr &= ~(<uint32_t>0x80 << below(choice >> 9 << 8, 6))
    for n in range(2 * count):
        r.xmm[n] = lane(s)
    if avx:
        for n in range(2 * count):
            r.ymm_high[n] = lane(s)
    for n in range(16):
        window[n] = lane(s)
    for n in range(8):
        choice = draw(s)
        kind = choice & 127
        if kind < 45:
            kind = below(choice >> 32, s.n_extended)
            r.st_mantissa[n] = s.extended[2 * kind]
            r.st_exponent[n] = <uint16_t>s.extended[2 * kind + 1]
            continue
        r.st_mantissa[n] = draw(s) | 0x8000000000000000ULL
        r.st_exponent[n] = <uint16_t>((choice >> 7 & 0x8000)
                                      | (below(choice >> 32, 0x7FFF) if kind < 53 else 0x3FD0 + below(choice >> 32, 96)))
    choice = draw(s)
    kind = below(choice >> 32, 5)
    r.control = <uint16_t>(0x7F | (0x300 if kind < 3 else 0x200 if kind == 3 else 0) | (choice & 3) << 10)
    r.status = <uint16_t>((choice >> 2 & 7) << 11 | (choice >> 5 & 0x4700))
    r.valid = <uint16_t>(0xFF if choice >> 20 & 3 else choice >> 22 & 0xFF)

cdef uint64_t STACK = 0

cdef _tables = {}

def set_tables(stack: int, corners, singles, doubles, extended) -> None:
    """What fill_states() chooses from: arrays of uint64 (extended: rows of mantissa, sign and exponent)."""
    global STACK
    STACK = stack
    for name, values in (("corners", corners), ("singles", singles), ("doubles", doubles), ("extended", extended)):
        _tables[name] = np.ascontiguousarray(values, np.uint64).reshape(-1)

def fill_states(records, seed: int, long_mode: bool, avx: bool) -> None:
    """Registers and memory of all records for 64- or 32-bit mode, without instructions; YMM's upper halves with avx."""
    cdef uint8_t[::1] bytes_view = records.view("u1").reshape(-1)
    cdef const uint64_t[::1] corners = _tables["corners"], singles = _tables["singles"]
    cdef const uint64_t[::1] doubles = _tables["doubles"], extended = _tables["extended"]
    cdef int64_t n, count = len(records)
    cdef Record* first
    cdef Source s
    cdef bint wide = avx, long_ = long_mode
    if not count:
        return
    first = <Record*>&bytes_view[0]
    s.state = <uint64_t>(seed & 0xFFFFFFFFFFFFFFFF)
    s.corners, s.n_corners = &corners[0], <uint32_t>len(corners)
    s.singles, s.n_singles = &singles[0], <uint32_t>len(singles)
    s.doubles, s.n_doubles = &doubles[0], <uint32_t>len(doubles)
    s.extended, s.n_extended = &extended[0], <uint32_t>(len(extended) // 2)
    with nogil:
        for n in range(count):
            fill(&first[n], &s, long_, wide)

def put_encoding(records, int64_t start, int64_t count, bytes code, int32_t row, uint64_t rip, uint64_t window,
                 uint32_t steps, dict fixed) -> None:
    """The same instructions and places into `count` records from `start` on; fixed holds registers by number."""
    cdef uint8_t[::1] view = records.view("u1").reshape(-1)
    cdef Record* r = <Record*>&view[0] + start
    cdef int64_t n
    cdef size_t length = len(code)
    cdef const char* text = code
    cdef int number
    cdef uint64_t value
    if start < 0 or count < 0 or start + count > len(records) or length > sizeof(r.code):
        raise ValueError(f"{count} records from {start} on with {length} bytes of code do not fit")
    for n in range(count):
        memset(r[n].code, 0xCC, sizeof(r[n].code))
        memcpy(r[n].code, text, length)
        r[n].code_length = <uint16_t>length
        r[n].row = row
        r[n].rip = rip
        r[n].window_address = window
        r[n].steps = steps
    for key, item in fixed.items():
        number = key & 15
        value = item & 0xFFFFFFFFFFFFFFFF
        for n in range(count):
            r[n].gpr[number] = value if r[n].mode == 64 else value & 0xFFFFFFFFULL

cdef int16_t _classes[258]

cdef inline int16_t class_of(int16_t vector) noexcept nogil:
    return _classes[vector] if vector >= 0 else vector

def differing_cases(expected, actual, undefined_flags, classes, uint64_t compared):
    """Numbers of the cases whose outcomes differ; undefined_flags by case, classes: vectors that are taken for equal."""
    cdef const uint8_t[::1] one = expected.view("u1").reshape(-1), other = actual.view("u1").reshape(-1)
    cdef const uint64_t[::1] undefined = np.ascontiguousarray(undefined_flags, np.uint64)
    cdef int64_t n, found = 0, count = len(expected)
    cdef const Record* a
    cdef const Record* b
    cdef int16_t va, vb
    places = np.empty(count, np.int64)
    cdef int64_t[::1] out = places
    if len(actual) != count or len(undefined) != count:
        raise ValueError("outcomes of different cases cannot be compared")
    for n in range(258):
        _classes[n] = classes[n]
    if not count:
        return places
    a = <const Record*>&one[0]
    b = <const Record*>&other[0]
    with nogil:
        for n in range(count):
            va, vb = class_of(a[n].vector), class_of(b[n].vector)
            if (va != vb or memcmp(a[n].gpr, b[n].gpr, 17 * 8)
                    or (a[n].rflags ^ b[n].rflags) & compared & ~undefined[n]
                    or (a[n].vector == 14 and a[n].fault_address != b[n].fault_address)
                    or a[n].digest != b[n].digest
                    or memcmp(a[n].st_mantissa, b[n].st_mantissa, (8 + 32 + 32 + 16) * 8)
                    or memcmp(a[n].st_exponent, b[n].st_exponent, 11 * 2)
                    or a[n].mxcsr != b[n].mxcsr):
                out[found] = n
                found += 1
    return places[:found]
