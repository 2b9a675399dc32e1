# cython: language_level=3
from x86emu.core.state cimport Cpu

# Recomputes what is derived from CPL, CR0, CR4, EFER, CS, SS, DS, ES, RFLAGS.AC: mode, tlb_key, ea_mask, sp_mask ...
# To be called by every handler that changed one of them.
cdef void refresh_mode(Cpu* c) noexcept nogil
cdef void refresh_segment(Cpu* c, int seg) noexcept nogil   # derived fields of one segment; then call refresh_mode()
# Less than refresh_mode(), for the transfers that happen most:
cdef void refresh_transfer(Cpu* c) noexcept nogil           # CPL, CS or SS changed: a system call, an event, their returns
cdef void refresh_code_base(Cpu* c) noexcept nogil          # CS alone, in real or virtual-8086 mode, before and after
cdef void refresh_data_segment(Cpu* c, int seg) noexcept nogil      # one of ES, SS, DS, FS, GS, by a load of it
