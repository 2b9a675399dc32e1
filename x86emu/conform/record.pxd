# cython: language_level=3
# The C structure of one record of x86emu.conform.records.RECORD.
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t, int16_t, int32_t

cdef packed struct Record:
    uint64_t gpr[16]
    uint64_t rip
    uint64_t rflags
    uint64_t fault_address
    uint64_t window_address
    uint64_t digest
    uint64_t st_mantissa[8]
    uint64_t xmm[32]
    uint64_t ymm_high[32]
    uint8_t window[128]
    uint8_t code[64]
    uint16_t st_exponent[8]
    uint16_t control
    uint16_t status
    uint16_t valid
    int16_t vector
    uint32_t mxcsr
    uint32_t steps
    uint16_t code_length
    uint16_t mode
    int32_t row
