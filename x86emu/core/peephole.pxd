# cython: language_level=3
from libc.stdint cimport uint8_t, uint16_t, uint32_t
from x86emu.core.state cimport Insn
from x86emu.core.decode cimport Plan, RowInfo

cdef struct Builder:
    Insn records[344]
    uint32_t n_records
    uint32_t n_instructions
    # by instruction
    uint32_t main_record[64]
    const RowInfo* row[64]
    const Plan* plan[64]
    uint8_t n_of_records[64]
    uint16_t gap_start, gap_end, jump_ip     # see Trace
    uint8_t jump_idx

cdef void peephole(Builder* b, uint32_t mode, bint ended) noexcept nogil
