# cython: language_level=3
"""Recording of exits from guest mode, for explain, --trace exits and --stats; the same for SVM and VMX."""
from libc.string cimport memcpy
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t, int64_t
from x86emu.core.state cimport *

cdef enum:
    SHUTDOWN = 0x7F              # of SVM's exit codes
    TRIPLE_FAULT = 2             # of VMX's reasons

cdef int copy_code(Cpu* c, uint8_t* bytes) noexcept nogil:
    """The bytes at RIP as far as their page goes, where the fetch TLB still knows it; how many."""
    cdef uint64_t linear = (c.r[REG_RIP] + c.cs_base) & c.ea_mask
    cdef TlbEntry* e = exec_entry(c, linear)
    cdef int n = 4096 - <int>(linear & 0xFFF)
    if e.tag != ((linear & 0xFFFFFFFFFFFFF000ULL) | c.real_key):
        return 0
    if n > 15:
        n = 15
    memcpy(bytes, c.shared.memory.backing + (linear + e.addend), n)
    return n

cdef void note_exit(Cpu* c, bint vmx, uint64_t code, uint64_t info1, uint64_t info2, uint64_t next_rip, uint64_t event,
                    uint64_t block, uint32_t failed) noexcept nogil:
    cdef Virtualization* v = &c.virt
    cdef ExitRecord* r = &v.exits[v.n_exits % N_EXIT_RECORDS]
    cdef ExitCounter* counter
    v.n_exits += 1
    v.left = retired(c)
    v.last_slot = exit_slot(code, vmx)
    counter = &v.exit_counters[v.last_slot]
    counter.count += 1
    r.code = code
    r.info1 = info1
    r.info2 = info2
    r.rip = c.r[REG_RIP]
    r.rax = c.r[RAX]
    r.cs_base = c.cs_base
    r.cr0 = c.cr0
    r.cr3 = c.cr3
    r.cr4 = c.cr4
    r.efer = c.efer
    r.cpl = c.cpl
    r.mode = c.mode
    r.guest_mode = GUEST_VMX if vmx else GUEST_SVM
    r.second_level = v.second_level
    r.root = v.second_level_root
    r.host_cr4 = v.host.cr4
    r.host_efer = v.host.efer
    r.guest_physical = v.guest_physical
    r.linear = c.vmx.walk_linear
    r.block = block
    r.next_rip = next_rip
    r.event = event
    r.failed = failed
    r.instructions = v.left
    r.entered = v.left if failed else v.entered
    r.n_bytes = 0
    if c.fault.kind == EVENT_EXCEPTION and (code & 0xFFFF) == (TRIPLE_FAULT if vmx else SHUTDOWN):
        # the third fault, which is in no field of the control block
        r.event = (0x80000000ULL | c.fault.vector | 3 << 8 | (0x800 if c.fault.has_error else 0)
                   | <uint64_t>c.fault.error << 32)
        r.linear = c.fault.address
    if not failed:
        counter.guest_time += v.left - v.entered
        r.n_bytes = <uint8_t>copy_code(c, r.bytes)
    if unlikely(c.shared.exit_hook != NULL):
        c.shared.exit_hook(c)

cdef void note_fault(Cpu* c, int number) noexcept nogil:
    note_place(c, &c.fault_places[number])

cdef void note_exception(Cpu* c, Fault* f) noexcept nogil:
    c.exception = f[0]
    note_place(c, &c.exception_place)

cdef void note_place(Cpu* c, FaultPlace* p) noexcept nogil:
    p.rip = c.r[REG_RIP]
    p.rsp = c.r[RSP]
    p.cr3 = c.cr3
    p.cs_base = c.cs_base
    p.cs = c.seg[CS].selector
    p.cpl = c.cpl
    p.mode = c.mode
    p.guest_mode = <uint8_t>c.virt.guest_mode
    p.n_bytes = <uint8_t>copy_code(c, p.bytes)
