# cython: language_level=3
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t, int64_t
from x86emu.core.state cimport Cpu, Insn

# --- data accesses at the current CPL (used through memory_access.pxd) ---
cdef bint slow_load(Cpu* c, Insn* i, uint64_t ea, uint32_t size) noexcept nogil       # value in c.mtmp
cdef bint slow_store(Cpu* c, Insn* i, uint64_t ea, uint64_t value, uint32_t size) noexcept nogil
cdef bint slow_rmw(Cpu* c, Insn* i, uint64_t ea, uint32_t size) noexcept nogil
cdef bint slow_bytes(Cpu* c, Insn* i, uint64_t ea, uint8_t* buffer, uint32_t n, bint write) noexcept nogil
cdef bint slow_probe(Cpu* c, Insn* i, uint64_t ea, uint32_t n, bint write) noexcept nogil
# Host address of [ea, ea + n) within one page if plain RAM (no MMIO, no code page for writes, no watchpoint), NULL if not.
# Never faults: *fault_free is False when an access there would fault or is not plain; callers then go element by element.
cdef uint8_t* host_pointer(Cpu* c, uint64_t ea, uint32_t n, bint write) noexcept nogil

# --- implicit supervisor accesses to descriptor tables and the TSS (SDM 3A 4.6.1: always supervisor mode) ---
cdef bint system_load(Cpu* c, Insn* i, uint64_t linear, uint32_t size, uint64_t* value) noexcept nogil
cdef bint system_store(Cpu* c, Insn* i, uint64_t linear, uint32_t size, uint64_t value) noexcept nogil
cdef bint system_probe(Cpu* c, Insn* i, uint64_t linear, uint32_t n, bint write) noexcept nogil

# --- explicit privilege: accesses to a new stack during a privilege change happen with the new CPL ---
cdef bint load_as(Cpu* c, Insn* i, uint64_t linear, uint32_t size, uint64_t* value, int cpl) noexcept nogil
cdef bint store_as(Cpu* c, Insn* i, uint64_t linear, uint32_t size, uint64_t value, int cpl) noexcept nogil
cdef bint probe_as(Cpu* c, Insn* i, uint64_t linear, uint32_t n, bint write, int cpl) noexcept nogil

# --- physical memory, through the second-level translation when there is one ---
cdef uint64_t physical_load(Cpu* c, uint64_t physical, uint32_t size) noexcept nogil
cdef void physical_store(Cpu* c, uint64_t physical, uint32_t size, uint64_t value) noexcept nogil

# --- TLB control (SDM 3A 4.10.4) ---
cdef void tlb_flush_all(Cpu* c) noexcept nogil              # MOV CR0/CR4 changes, INVPCID 2 and 3
cdef void tlb_flush_everything(Cpu* c) noexcept nogil       # every guest's too: the map of memory itself changed
cdef void tlb_forget_tag(Cpu* c, uint32_t tag) noexcept nogil    # what an ASID or VPID tagged
cdef void tlb_take_keys(Cpu* c) noexcept nogil              # after a world switch
cdef void tlb_new_address_space(Cpu* c) noexcept nogil      # MOV CR3 without the no-flush bit
cdef void tlb_switch_address_space(Cpu* c) noexcept nogil   # MOV CR3 with bit 63: keep what PCID tagged
cdef void tlb_flush_pcid(Cpu* c, uint32_t pcid) noexcept nogil
cdef void tlb_flush_page(Cpu* c, uint64_t linear) noexcept nogil
cdef bint load_pdptes(Cpu* c, Insn* i, uint64_t cr3) noexcept nogil   # PAE: False with #GP(0) raised on reserved bits
# Recomputes what is derived from CPL, CR0, CR4, EFER, CS, SS, DS, ES, RFLAGS.AC: mode, tlb_key, ea_mask, sp_mask ...
# To be called by every handler that changed one of them.
cdef void refresh_mode(Cpu* c) noexcept nogil
cdef void refresh_segment(Cpu* c, int seg) noexcept nogil   # derived fields of one segment; then call refresh_mode()
cdef void refresh_key(Cpu* c) noexcept nogil               # CPL or RFLAGS.AC alone changed (STAC, CLAC)
# Less than refresh_mode(), for the transfers that happen most:
cdef void refresh_transfer(Cpu* c) noexcept nogil           # CPL, CS or SS changed: a system call, an event, their returns
cdef void refresh_code_base(Cpu* c) noexcept nogil          # CS alone, in real or virtual-8086 mode, before and after
cdef void refresh_data_segment(Cpu* c, int seg) noexcept nogil      # one of ES, SS, DS, FS, GS, by a load of it
# Host address of n bytes of a stack within one page, if a cached translation lets cpl read or write them; else NULL.
cdef uint8_t* frame_pointer(Cpu* c, uint64_t linear, uint32_t n, bint write, int cpl) noexcept nogil
cdef bint canonical(Cpu* c, uint64_t address) noexcept nogil
# --- for the trace builder ---
cdef bint translate_code(Cpu* c, uint64_t linear, uint64_t* physical) noexcept nogil
cdef uint8_t fetch_byte(Cpu* c, uint64_t physical) noexcept nogil
cdef void drop_write_entries(Cpu* c, uint64_t backing_offset) noexcept nogil
# After the fact: set by whoever raises faults outside an instruction (event delivery): i may be NULL everywhere above.
