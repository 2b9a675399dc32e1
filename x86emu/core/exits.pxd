# cython: language_level=3
# What is kept of exits from guest mode for people: the ring that explain shows and the counters of --stats.
from libc.stdint cimport uint8_t, uint32_t, uint64_t, int64_t
from x86emu.core.state cimport *
from x86emu.core.svm_state cimport exit_slot

# Records an exit while the guest's state is still in force. event: what was being delivered, in the block's form; block:
# physical address of the VMCB or VMCS; failed: 1 + the row that an entry broke, 0 where the guest ran.
cdef void note_exit(Cpu* c, bint vmx, uint64_t code, uint64_t info1, uint64_t info2, uint64_t next_rip, uint64_t event,
                    uint64_t block, uint32_t failed) noexcept nogil
# Where an exception was met, for the triple-fault report: the first, second or third.
cdef void note_fault(Cpu* c, int number) noexcept nogil
# Which exception is delivered now, and where it was met.
cdef void note_exception(Cpu* c, Fault* f) noexcept nogil

cdef inline void note_entry(Cpu* c) noexcept nogil:
    c.virt.entered = retired(c)
    if c.virt.n_exits:
        c.virt.exit_counters[c.virt.last_slot].host_time += c.virt.entered - c.virt.left
