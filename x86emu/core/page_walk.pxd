# cython: language_level=3
from libc.stdint cimport uint32_t, uint64_t
from x86emu.core.state cimport Cpu, Insn

cdef enum:
    # how
    READ = 0
    WRITE = 1
    EXECUTE = 2
    # what a translation says
    PAGE_WRITABLE = 1        # a write TLB entry may be made (permission and dirty flag)
    PAGE_USER = 2

# implicit: an implicit supervisor access (descriptor tables, the TSS), which SMAP never lets through.
cdef bint walk(Cpu* c, Insn* i, uint64_t linear, int access, bint user, bint implicit,
               uint64_t* physical, uint32_t* flags) noexcept nogil
# The translation for a shadow-stack access, READ or WRITE (SDM 3A 4.6.1).
cdef bint walk_shadow(Cpu* c, Insn* i, uint64_t linear, int access, bint user, uint64_t* physical) noexcept nogil
cdef bint load_pdptes(Cpu* c, Insn* i, uint64_t cr3) noexcept nogil   # PAE: False with #GP(0) raised on reserved bits
