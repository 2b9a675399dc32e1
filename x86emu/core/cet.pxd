# cython: language_level=3
# Control-flow enforcement (SDM 1, chapter 17; APM 2, 18): shadow stacks, and the tracking of indirect branches.
#
# Where CR4.CET is clear nothing looks here: MODE_CET and its kin are part of every trace's key, and the decoder picks
# other handlers by them (NAME_cet, NAME_shadow, NAME_tracked: builder.pyx).
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t, int64_t
from x86emu.core.state cimport *

cdef enum:                   # error codes of #CP (SDM 3A, interrupt 21)
    CP_NEAR_RET = 1
    CP_FAR_RET = 2
    CP_ENDBRANCH = 3
    CP_RSTORSSP = 4
    CP_SETSSBSY = 5

cdef enum:
    SHADOW_LOAD = 0
    SHADOW_STORE = 1
    SHADOW_LOAD_TO_STORE = 2     # write permission is checked now
    TOKEN_BUSY = 1

cdef inline uint64_t* cet_register(Cpu* c, int cpl) noexcept nogil:
    return &c.u_cet if cpl == 3 else &c.s_cet

cdef inline bint shadow_enabled(Cpu* c, int cpl) noexcept nogil:
    return c.cr4 & CR4_CET and c.cr0 & CR0_PE and not c.rflags & FLAG_VM and cet_register(c, cpl)[0] & CET_SH_STK_EN

cdef inline uint32_t cet_mode(Cpu* c) noexcept nogil:
    """The mode's bits where CR4.CET is set."""
    cdef uint64_t cet
    cdef uint32_t mode = MODE_CET
    if not c.cr0 & CR0_PE:
        return 0
    if c.rflags & FLAG_VM:
        return mode
    cet = cet_register(c, c.cpl)[0]
    if cet & CET_SH_STK_EN:
        mode |= MODE_SHADOW
    if cet & CET_ENDBR_EN:
        mode |= MODE_TRACK
        if cet & CET_TRACKER:
            mode |= MODE_WAIT
    return mode

cdef inline void expect_endbranch(Cpu* c, int cpl) noexcept nogil:
    """A far transfer or an event to this CPL; before refresh_mode()."""
    cdef uint64_t* cet = cet_register(c, cpl)
    if cet[0] & CET_ENDBR_EN and not c.rflags & FLAG_VM:
        cet[0] = (cet[0] & ~<uint64_t>CET_SUPPRESS) | CET_TRACKER

# One value of 4 or 8 bytes of a shadow stack, as user mode or supervisor mode. False: a fault was raised.
cdef bint shadow_access(Cpu* c, Insn* i, uint64_t linear, uint32_t size, int access, bint user,
                        uint64_t* value) noexcept nogil

# Each of these is the last step of its instruction or event that may fault, and commits SSP and the tracker.
# An event, or CALL, to code at `cpl`; ist of the gate or 0. cs and lip: where it comes from. wide: 64-bit code.
cdef bint cet_enter(Cpu* c, Insn* i, int cpl, int ist, bint wide, uint32_t cs, uint64_t lip, uint32_t ext) noexcept nogil
# A far JMP at the same CPL.
cdef bint cet_jump(Cpu* c, Insn* i, bint wide) noexcept nogil
# RET or IRET to code at `cpl`, to cs and lip.
cdef bint cet_return(Cpu* c, Insn* i, int cpl, bint wide, uint32_t cs, uint64_t lip, bint interrupt) noexcept nogil
# A task switch: what the old task leaves behind, before the commit point, and what the new one begins with, behind it.
cdef struct TaskShadow:
    bint nested                  # CALL or an event: the new stack gets a frame
    bint back                    # IRET: the old stack has one
    uint64_t cs, lip, ssp        # of the old task, or of its frame where it goes back
    uint64_t stack               # SSP of the new TSS
    bint has_stack               # it has one: 32-bit, and long enough

cdef bint cet_leave_task(Cpu* c, Insn* i, TaskShadow* t, uint64_t rip) noexcept nogil
cdef bint cet_enter_task(Cpu* c, TaskShadow* t, uint64_t rip, uint32_t ext) noexcept nogil
# SYSCALL and SYSENTER; SYSRET and SYSEXIT.
cdef void cet_system_call(Cpu* c) noexcept nogil
cdef bint cet_system_return(Cpu* c, Insn* i, bint wide) noexcept nogil
# What waits for an ENDBRANCH meets these bytes: False after raising #CP. The tracker is idle then.
cdef bint meet_branch_target(Cpu* c, uint64_t linear, const uint8_t* p) noexcept nogil
# Reserved bits and forms of the MSRs.
cdef uint64_t cet_reserved(Cpu* c) noexcept nogil
cdef bint valid_cet(Cpu* c, uint64_t value) noexcept nogil
cdef bint valid_ssp(Cpu* c, uint64_t value) noexcept nogil
